#!/usr/bin/env bash
# Run the tests of Apache Beam in .venv-beam: Beam pins packages that the rest of lob_jax uses in newer versions.
set -euo pipefail
source "$(dirname "$0")/environment.sh" "[test]"
[ -x .venv-beam/bin/python ] || python -m venv .venv-beam
.venv-beam/bin/python -m pip install --quiet --disable-pip-version-check --editable ".[test,beam]"
exec .venv-beam/bin/python -m pytest tests/data/records/test_beam.py "$@"
