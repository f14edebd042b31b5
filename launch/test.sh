#!/usr/bin/env bash
# Run the fast test suite in .venv; arguments are passed to pytest, for example `bash launch/test.sh -k grammar`.
set -euo pipefail
source "$(dirname "$0")/environment.sh" "[test]"
exec python -m pytest --numprocesses=2 --dist=loadscope --no-loadscope-reorder -m "not slow" "$@"
