#!/usr/bin/env bash
# Submit a run to SLURM. It saves before its time limit, requeues itself and resumes.
# usage: bash launch/slurm.sh --nodes=N --gpus=N --time=HH:MM:SS [options] -- --config=... --workdir=... [more]
#   --nodes=N         number of machines
#   --gpus=N          GPUs per machine; 0 runs on CPUs
#   --time=TIME       time limit of each allocation, in the format of sbatch
#   --partition=NAME  by default the cluster's default
#   --cpus=N          CPU cores per process; by default the cluster's default
#   --warning=SECONDS how long before the time limit the run receives SIGTERM, to save (120)
#   --name=NAME       name of the job (lob_jax)
#   --dry-run         print the commands
# There is one process per GPU: under SLURM, jax.distributed assigns each process a single GPU, by its number on the
# node, so that one process per node would leave the other GPUs idle. Set the account, the QOS and other options of
# sbatch by its variables SBATCH_ACCOUNT, SBATCH_QOS and so on. .venv is created here, where there is network access;
# the nodes must be able to read it, and --workdir.
set -euo pipefail
source "$(dirname "$0")/dry_run.sh"

nodes="" gpus="" time="" partition="" cpus="" warning=120 name=lob_jax
read_arguments "nodes gpus time partition cpus warning name" "" "$@"
require nodes "the number of machines"
require gpus "the number of GPUs on each machine, 0 for a run on CPUs"
require time "a time limit, such as 24:00:00"
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
# Without B: in --signal, only the processes receive the signal; the batch script survives to see their exit code 75.
options+=(--signal=TERM@"$warning" --requeue --open-mode=append --output="$root/logs/%x-%j.log" --chdir="$root")
run sbatch "${options[@]}" "$root/launch/slurm_job.sh" --platform="$platform" -- "${rest[@]}"
