#!/usr/bin/env bash
# Check the source in .venv: ruff's lint and format, and types by ty, with the versions of constraints.txt.
set -euo pipefail
source "$(dirname "$0")/environment.sh" "[dev]"
ruff check .
ruff format --check .
ty check
