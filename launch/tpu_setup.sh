#!/usr/bin/env bash
# Copy lob_jax to ~/lob_jax on every worker of a TPU VM and create its environment there, with the extra [tpu].
# usage: bash launch/tpu_setup.sh --name=NAME --zone=ZONE [options]
#   --ref=REF          the commit to copy (HEAD); uncommitted changes are not copied
#   --repository=URL   clone this on the workers, instead of copying this repository
#   --share=HOST:/DIR  mount this NFS folder (a Filestore share, for example) on every worker as /mnt/share: several
#                      workers need a shared --workdir
#   --project=PROJECT  by default gcloud's default
#   --dry-run          print the commands
set -euo pipefail
source "$(dirname "$0")/dry_run.sh"

name="" zone="" project="" ref=HEAD repository="" share=""
read_arguments "name zone project ref repository share" "" "$@"
require name "the name of a TPU VM"
require zone "its zone"

root=$(cd "$(dirname "$0")/.." && pwd)
archive=${TMPDIR:-/tmp}/lob_jax.tar.gz
if [ -n "$repository" ]; then
  on_workers all "{ [ -d lob_jax ] || git clone $(quote "$repository") lob_jax; } && cd lob_jax &&\
 git fetch origin $(quote "$ref") && git checkout --detach FETCH_HEAD"
else
  run git -C "$root" archive --format=tar.gz --output="$archive" "$ref"
  run gcloud compute tpus tpu-vm scp "$archive" "$name:lob_jax.tar.gz" --zone="$zone" \
    ${project:+--project="$project"} --worker=all
  on_workers all "mkdir -p lob_jax && tar -xzf lob_jax.tar.gz -C lob_jax"
fi
# The preinstalled Python is 3.10, which lob_jax does not support.
on_workers all "command -v python3.12 > /dev/null || { sudo add-apt-repository -y ppa:deadsnakes/ppa &&\
 sudo apt-get install -y -o DPkg::Lock::Timeout=300 python3.12 python3.12-venv; }"
if [ -n "$share" ]; then
  on_workers all "mountpoint -q /mnt/share || { sudo apt-get install -y -o DPkg::Lock::Timeout=300 nfs-common &&\
 sudo mkdir -p /mnt/share && sudo mount $(quote "$share") /mnt/share && sudo chmod a+rwx /mnt/share; }"
fi
on_workers all "bash lob_jax/launch/worker.sh --platform=tpu --setup"
