#!/usr/bin/env bash
# What one machine does in a run: makes .venv, sets the flags of XLA, runs python -m lob_jax.main. The other launchers
# call it on each machine; by hand it starts one process of a run.
# usage: bash launch/worker.sh --platform=gpu|tpu|cpu [options] -- ARGUMENTS OF lob_jax.main
#   --setup          make .venv and end
#   --restart        start the same command again while it ends with 75: stopped after saving
#   --log=FILE       go on after the terminal is closed: output in FILE, the process id in FILE.pid
#   --attached       let the program save and end when standard input ends, as when gpu_run.sh or its connection does
#   --grace=SECONDS  how long the program may take to save after SIGTERM before it is killed (300)
#   --dry-run        print the commands
# SIGTERM or Ctrl-C to this script goes to the program as SIGTERM: it saves, ends with 75, and is not started again; a
# second one ends it at once. Paths are relative to the repository.
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
  *) fail "--platform=$platform is none that is known" "gpu, tpu or cpu" "name the one of this machine" ;;
esac
[ -n "$setup" ] || require_run

# Processes that share a file system make .venv one after the other.
make_environment_alone() {
  mkdir -p .venv
  exec 9> .venv/lock
  flock 9 2> /dev/null || true  # where there is no flock, or a file system without it, the first run makes .venv
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

# What has no terminal tells once: a second SIGTERM would keep the program from saving.
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

# Printing to a connection that is lost would end the program before it has saved: tee -p goes on reading.
outlive_output() {
  exec > >(exec tee -pi /dev/null) 2>&1
}

run_program() {
  local code
  [ -z "$stopped" ] || return "$EXIT_SAVED"  # the signal came first: nothing to save
  python -m lob_jax.main "${rest[@]}" < /dev/null &
  child=$!
  [ -z "$stopped" ] || stop  # it came while the program was being started
  while true; do  # a signal ends `wait`, not the program
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
    fail "a run with the log $log is going on: process $old" "one run a log" "stop it, or name another --log"
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
if [ -z "$restart$attached" ]; then exec python -m lob_jax.main "${rest[@]}"; fi  # signals reach the program alone
trap stop TERM INT
trap stop_once USR1
trap leave EXIT
[ -z "$attached" ] || watch_input
[ -z "$attached" ] || [ -t 1 ] || outlive_output
if [ -n "$restart" ]; then again_while_saved run_program; else run_program; fi
