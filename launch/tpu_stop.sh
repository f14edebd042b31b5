#!/usr/bin/env bash
# Stop a run on a TPU VM: every process saves and exits. tpu_run.sh with the same arguments resumes the run.
# usage: bash launch/tpu_stop.sh --name=NAME --zone=ZONE [options]
#   --log=FILE         as in tpu_run.sh (logs/train.log)
#   --project=PROJECT  by default gcloud's default
#   --dry-run          print the command
set -euo pipefail
source "$(dirname "$0")/dry_run.sh"

name="" zone="" project="" log=logs/train.log
read_arguments "name zone project log" "" "$@"
require name "the name of a TPU VM"
require zone "its zone"

on_workers all "kill -TERM \"\$(cat $(quote "lob_jax/$log.pid"))\""
