#!/usr/bin/env bash
# Submit a run to SLURM. It saves before its time is up, goes back into the queue by itself and goes on.
# usage: bash launch/slurm.sh --nodes=N --gpus=N --time=HH:MM:SS [options] -- --config=... --workdir=... [more]
#   --nodes=N         machines
#   --gpus=N          GPUs on each of them; 0 runs on CPUs
#   --time=TIME       limit of one stay on the machines, as sbatch takes it
#   --partition=NAME  by default the cluster's own
#   --cpus=N          CPU cores of each process, by default the cluster's own
#   --warning=SECONDS how long before the end of its time the run is told to save (120)
#   --name=NAME       of the job (lob_jax)
#   --dry-run         print the commands
# One process a GPU: under SLURM, jax.distributed gives each process the one GPU of its number on the node, so that one
# process a node would leave the other GPUs idle. The account, the QOS and whatever else sbatch takes can be set by its
# variables, SBATCH_ACCOUNT, SBATCH_QOS and so on. .venv is made here, where the network is, and has to be seen by the
# nodes, as has --workdir.
set -euo pipefail
source "$(dirname "$0")/dry_run.sh"

nodes="" gpus="" time="" partition="" cpus="" warning=120 name=lob_jax
read_arguments "nodes gpus time partition cpus warning name" "" "$@"
require nodes "the number of machines"
require gpus "the number of GPUs on each machine, 0 for a run on CPUs"
require time "a limit of time, such as 24:00:00"
require_number nodes "the number of machines"
require_number gpus "the number of GPUs on each machine"
require_number warning "seconds"
[ -z "$cpus" ] || require_number cpus "the number of CPU cores of each process"
require_shared_workdir

root=$(cd "$(dirname "$0")/.." && pwd)
platform=gpu tasks=$gpus
if [ "$gpus" -eq 0 ]; then platform=cpu tasks=1; fi
run bash "$root/launch/worker.sh" --platform="$platform" --setup
run mkdir -p "$root/logs"
options=(--job-name="$name" --nodes="$nodes" --ntasks-per-node="$tasks" --time="$time")
[ "$gpus" -eq 0 ] || options+=(--gpus-per-node="$gpus")
[ -z "$partition" ] || options+=(--partition="$partition")
[ -z "$cpus" ] || options+=(--cpus-per-task="$cpus")
# Without B: in --signal, the processes get it and the batch script does not, which then sees their 75.
options+=(--signal=TERM@"$warning" --requeue --open-mode=append --output="$root/logs/%x-%j.log" --chdir="$root")
run sbatch "${options[@]}" "$root/launch/slurm_job.sh" --platform="$platform" -- "${rest[@]}"
