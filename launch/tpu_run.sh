#!/usr/bin/env bash
# Start a run on all workers of a TPU VM. It is independent of this machine, and is restarted after a stop that saved.
# usage: bash launch/tpu_run.sh --name=NAME --zone=ZONE [options] -- --config=... --workdir=... [more of lob_jax.main]
#   --log=FILE         file for its output on each worker, in ~/lob_jax (logs/train.log): see tpu_log.sh, tpu_stop.sh
#   --project=PROJECT  by default gcloud's default
#   --dry-run          print the command
# --distributed is added, so that the workers discover each other. They must share the folder --workdir.
set -euo pipefail
source "$(dirname "$0")/dry_run.sh"

name="" zone="" project="" log=logs/train.log
read_arguments "name zone project log" "" "$@"
require name "the name of a TPU VM"
require zone "its zone"
require_shared_workdir

worker=(bash lob_jax/launch/worker.sh --platform=tpu --restart --log="$log")
on_workers all "$(quote "${worker[@]}" -- --distributed "${rest[@]}")"
