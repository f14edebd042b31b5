#!/usr/bin/env bash
# Create a TPU VM, directly or as a queued resource.
# usage: bash launch/tpu_create.sh --name=NAME --zone=ZONE --type=TYPE [options]
#   --type=TYPE        accelerator type, such as v4-32, v5litepod-16, v5p-16 or v6e-16
#   --version=VERSION  software version of the machines; by default the one for the type
#   --project=PROJECT  by default gcloud's default
#   --spot             cheaper, but preempted at any time; on a new TPU VM, the run resumes from its last checkpoint
#   --queued           wait in the queue for capacity, as a queued resource of the same name
#   --dry-run          print the command
set -euo pipefail
source "$(dirname "$0")/dry_run.sh"

name="" zone="" type="" version="" project="" spot="" queued=""
read_arguments "name zone type version project" "spot queued" "$@"
require name "a name for the TPU VM, such as lob-pod"
require zone "a zone that offers the type, such as us-central2-b"
require type "an accelerator type, such as v4-32"

if [ -z "$version" ]; then
  case $type in
    v6e-*) version=v2-alpha-tpuv6e ;;
    v5p-*) version=v2-alpha-tpuv5 ;;
    v5litepod-*) version=v2-alpha-tpuv5-lite ;;
    v[234]-*) version=tpu-ubuntu2204-base ;;
    *) fail "no software version is known for --type=$type" "v2 to v4, v5litepod, v5p or v6e, a dash and a size" \
      "correct the type, or give the software version with --version=..." ;;
  esac
fi
place=(--zone="$zone" ${project:+--project="$project"} --accelerator-type="$type")
if [ -n "$queued" ]; then
  run gcloud compute tpus queued-resources create "$name" --node-id="$name" "${place[@]}" \
    --runtime-version="$version" ${spot:+--spot}
else
  run gcloud compute tpus tpu-vm create "$name" "${place[@]}" --version="$version" ${spot:+--spot}
fi
