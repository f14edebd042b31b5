#!/usr/bin/env bash
# Delete a TPU VM and all data on its disks, after asking for confirmation.
# usage: bash launch/tpu_delete.sh --name=NAME --zone=ZONE [options]
#   --queued           if it was created with --queued: delete the queued resource together with the TPU VM
#   --yes              do not ask
#   --project=PROJECT  by default gcloud's default
#   --dry-run          print the command
set -euo pipefail
source "$(dirname "$0")/dry_run.sh"

name="" zone="" project="" queued="" yes=""
read_arguments "name zone project" "queued yes" "$@"
require name "the name of a TPU VM"
require zone "its zone"

if [ -z "$yes$dry_run" ]; then
  printf 'Delete the TPU VM %s in %s and all data on its disks? [y/N] ' "$name" "$zone"
  read -r answer || answer=""
  case $answer in
    y | Y | yes) ;;
    *) fail "nothing was deleted" "the answer y, or --yes" "run it again, and answer y or add --yes" ;;
  esac
fi
place=(--zone="$zone" ${project:+--project="$project"} --quiet)
if [ -n "$queued" ]; then
  run gcloud compute tpus queued-resources delete "$name" "${place[@]}" --force
else
  run gcloud compute tpus tpu-vm delete "$name" "${place[@]}"
fi
