#!/usr/bin/env bash
# Run one process: create .venv, set XLA flags, run python -m lob_jax.main. The other launchers call this script on each
# machine; called by hand, it starts one process of a run.
# usage: bash launch/worker.sh --platform=gpu|tpu|cpu [options] -- ARGUMENTS OF lob_jax.main
#   --setup          create .venv and exit
#   --restart        run the same command again while it exits with 75, which means that it stopped after saving
#   --log=FILE       keep running after the terminal is closed, with output to FILE and the process id in FILE.pid
#   --attached       let the program save and exit when standard input ends, as when gpu_run.sh or its connection ends
#   --grace=SECONDS  how long the program may take to save after SIGTERM before it is killed (300)
#   --dry-run        print the commands
# SIGTERM or Ctrl-C to this script is forwarded to the program as SIGTERM: it saves, exits with 75, and is not
# restarted; a second one makes it exit at once. Paths are relative to the repository.
set -euo pipefail
cd "$(dirname "$0")/.."
source launch/dry_run.sh

platform="" setup="" restart="" log="" attached="" grace=300
read_arguments "platform log grace" "setup restart attached" "$@"
require platform "gpu, tpu or cpu"
require_number grace "seconds"
case $platform in
  gpu) extras="[cuda]" ;;
  tpu) extras="[tpu]" ;;
  cpu) extras="" ;;
  *) fail "--platform=$platform is unknown" "gpu, tpu or cpu" "choose the platform of this machine" ;;
esac
[ -n "$setup" ] || require_run

# Processes on a shared file system must not create .venv at the same time.
make_environment_alone() {
  mkdir -p .venv
  exec 9> .venv/lock
  flock 9 2> /dev/null || true  # no flock, or no locks on this file system: continue without a lock
  # shellcheck source=environment.sh
  source launch/environment.sh "$extras"
  exec 9>&-
}

child="" killer="" watcher="" stopped="" interrupted=""

stop() {
  stopped=yes interrupted=yes
  [ -n "$child" ] || return 0
  kill -TERM "$child" 2> /dev/null || true
  if [ -z "$killer" ]; then
    { sleep "$grace"; kill -KILL "$child"; } > /dev/null 2>&1 < /dev/null &
    killer=$!
  fi
}

# Without a terminal, stop only once: a second SIGTERM would prevent the program from saving.
stop_once() {
  interrupted=yes
  [ -n "$stopped" ] || stop
}

leave() {
  [ -z "$killer" ] || kill "$killer" 2> /dev/null || true
  [ -z "$watcher" ] || kill "$watcher" 2> /dev/null || true
}

watch_input() {
  exec 8<&0
  { while read -r _ <&8; do :; done; kill -USR1 $$; } > /dev/null 2>&1 &
  watcher=$!
  exec 8<&-
}

# Writing to a lost connection would kill the program before it has saved; tee -p keeps reading instead.
outlive_output() {
  exec > >(exec tee -pi /dev/null) 2>&1
}

run_program() {
  local code
  [ -z "$stopped" ] || return "$EXIT_SAVED"  # a signal came before the start: nothing to save
  python -m lob_jax.main "${rest[@]}" < /dev/null &
  child=$!
  [ -z "$stopped" ] || stop  # a signal came while the program was being started
  while true; do  # a signal interrupts `wait`, although the program is still running
    interrupted="" code=0
    wait "$child" || code=$?
    [ -n "$interrupted" ] || break
  done
  child=""
  return "$code"
}

run_detached() {
  local old
  old=$(cat "$log.pid" 2> /dev/null || true)
  if [ -n "$old" ] && kill -0 "$old" 2> /dev/null; then
    fail "a run with the log $log is active: process $old" "one run per log" "stop it, or use another --log"
  fi
  mkdir -p "$(dirname "$log")"
  nohup bash launch/worker.sh --platform="$platform" ${restart:+--restart} --grace="$grace" -- "${rest[@]}" \
    >> "$log" 2>&1 < /dev/null &
  echo $! > "$log.pid"
  echo "started as process $!, output in $PWD/$log"
}

if [ -n "$dry_run" ]; then
  quote source launch/environment.sh "$extras"
  [ -z "$setup" ] || exit 0
  quote source launch/xla_flags.sh
  quote export_xla_flags "$platform"
  quote python -m lob_jax.main "${rest[@]}"
  exit 0
fi
make_environment_alone
[ -z "$setup" ] || exit 0
if [ -n "$log" ]; then
  run_detached
  exit 0
fi
source launch/xla_flags.sh
export_xla_flags "$platform"
if [ -z "$restart$attached" ]; then exec python -m lob_jax.main "${rest[@]}"; fi  # so that it receives the signals
trap stop TERM INT
trap stop_once USR1
trap leave EXIT
[ -z "$attached" ] || watch_input
[ -z "$attached" ] || [ -t 1 ] || outlive_output
if [ -n "$restart" ]; then again_while_saved run_program; else run_program; fi
