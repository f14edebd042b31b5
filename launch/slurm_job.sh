#!/usr/bin/env bash
# The batch script that slurm.sh submits: run on all nodes, and requeue the job if it stopped after saving.
# usage: sbatch --chdir=REPOSITORY ... launch/slurm_job.sh --platform=gpu|cpu -- ARGUMENTS OF lob_jax.main
#   --dry-run  print the command
set -euo pipefail
source launch/dry_run.sh  # not relative to this file: SLURM runs a copy of it, in the folder given by --chdir

platform=""
read_arguments "platform" "" "$@"
require platform "gpu or cpu"
require_shared_workdir

# With --kill-on-bad-exit, the first process to exit with 75 would kill the others, which may still be saving. If one
# fails, JAX ends the others within minutes, and SLURM after ten minutes at the latest.
code=0
run srun --kill-on-bad-exit=0 --wait=600 ${SLURM_CPUS_PER_TASK:+--cpus-per-task="$SLURM_CPUS_PER_TASK"} \
  bash launch/worker.sh --platform="$platform" -- --distributed "${rest[@]}" || code=$?
if [ "$code" -eq "$EXIT_SAVED" ]; then
  run scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
