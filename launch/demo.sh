#!/usr/bin/env bash
# From nothing to generated order flow with configs/tiny.py: makes .venv, prepares, trains, evaluates, generates.
# usage: bash launch/demo.sh [workdir], runs/demo by default
set -euo pipefail
workdir=${1:-runs/demo}
source "$(dirname "$0")/environment.sh"

for mode in prepare train generate; do  # training ends with the evaluation of the best checkpoint
  echo
  echo "== $mode: python -m lob_jax.main --config=configs/tiny.py --mode=$mode --workdir=$workdir"
  python -m lob_jax.main --config=configs/tiny.py --mode="$mode" --workdir="$workdir"
done
