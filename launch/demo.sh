#!/usr/bin/env bash
# Run the complete pipeline with configs/tiny.py: create .venv, prepare, train, evaluate, generate.
# usage: bash launch/demo.sh [workdir], runs/demo by default
set -euo pipefail
workdir=${1:-runs/demo}
source "$(dirname "$0")/environment.sh"

for mode in prepare train generate; do  # train ends with the evaluation of the best checkpoint
  echo
  echo "== $mode: python -m lob_jax.main --config=configs/tiny.py --mode=$mode --workdir=$workdir"
  python -m lob_jax.main --config=configs/tiny.py --mode="$mode" --workdir="$workdir"
done
