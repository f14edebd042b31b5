#!/usr/bin/env bash
# Show the last lines of a run's output on the workers of a TPU VM.
# usage: bash launch/tpu_log.sh --name=NAME --zone=ZONE [options]
#   --worker=NUMBER    number of the worker, or `all` (0)
#   --lines=COUNT      number of lines (50)
#   --follow           keep showing new lines until Ctrl-C
#   --log=FILE         as in tpu_run.sh (logs/train.log)
#   --project=PROJECT  by default gcloud's default
#   --dry-run          print the command
set -euo pipefail
source "$(dirname "$0")/dry_run.sh"

name="" zone="" project="" worker=0 lines=50 follow="" log=logs/train.log
read_arguments "name zone project worker lines log" "follow" "$@"
require name "the name of a TPU VM"
require zone "its zone"
require_number lines "a number of lines"
[ "$worker" = all ] || require_number worker "the number of a worker, or all"

on_workers "$worker" "$(quote tail -n "$lines" ${follow:+-F} "lob_jax/$log")"
