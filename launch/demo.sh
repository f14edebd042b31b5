#!/usr/bin/env bash
# From nothing to generated order flow: makes .venv, then prepares, trains, evaluates and generates with configs/tiny.py.
# usage: bash launch/demo.sh [workdir], runs/demo by default
set -euo pipefail
workdir=${1:-runs/demo}
source "$(dirname "$0")/environment.sh"

for mode in prepare train evaluate generate; do
  echo
  echo "== $mode: python -m lob_jax.main --config=configs/tiny.py --mode=$mode --workdir=$workdir"
  python -m lob_jax.main --config=configs/tiny.py --mode="$mode" --workdir="$workdir"
done
