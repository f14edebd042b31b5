#!/usr/bin/env bash
# Run the Apache Beam tests in a separate .venv-beam: Beam pins older versions of packages that lob_jax uses.
set -euo pipefail
source "$(dirname "$0")/environment.sh" "[test]"
[ -x .venv-beam/bin/python ] || python -m venv .venv-beam
.venv-beam/bin/python -m pip install --quiet --disable-pip-version-check --editable ".[test,beam]"
exec .venv-beam/bin/python -m pytest tests/data/records/test_beam.py "$@"
