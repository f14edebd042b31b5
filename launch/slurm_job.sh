#!/usr/bin/env bash
# The batch script that slurm.sh submits: the run on all nodes, and back into the queue when it stopped after saving.
# usage: sbatch --chdir=REPOSITORY ... launch/slurm_job.sh --platform=gpu|cpu -- ARGUMENTS OF lob_jax.main
#   --dry-run  print the command
set -euo pipefail
source launch/dry_run.sh  # SLURM runs a copy of this file, from the folder that --chdir names

platform=""
read_arguments "platform" "" "$@"
require platform "gpu or cpu"
require_shared_workdir

# The first process that ends with 75 must not end the others (--kill-on-bad-exit), which may still be saving; when one
# fails, JAX ends the others within minutes, and SLURM after ten at the latest.
code=0
run srun --kill-on-bad-exit=0 --wait=600 ${SLURM_CPUS_PER_TASK:+--cpus-per-task="$SLURM_CPUS_PER_TASK"} \
  bash launch/worker.sh --platform="$platform" -- --distributed "${rest[@]}" || code=$?
if [ "$code" -eq "$EXIT_SAVED" ]; then
  run scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
