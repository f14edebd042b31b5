#!/usr/bin/env bash
# Serve a model by several processes on this machine: process K, from 0, listens on port PORT + K of the loopback
# interface, behind a load balancer such as launch/serve/nginx.conf.
# usage: bash launch/serve.sh --workers=N [options] -- ARGUMENTS OF lob_jax.main, such as --config.serve.bundle=FOLDER
#   --port=PORT        the first port (8000)
#   --startup=SECONDS  how long the processes may take until they are ready (300)
#   --grace=SECONDS    how long they may take to end after SIGTERM before they are killed (90)
#   --dry-run          print the commands
# A session lives in the process that opened it: the balancer must send its requests there, by their header
# X-Session-Affinity. When all processes are ready, the script says so. SIGTERM and Ctrl-C are passed on as SIGTERM: the
# processes finish what they are at, and the script ends with 0; a second one ends them at once. If a process ends
# by itself, the others are ended, too, and the script fails, so that whoever started it can start it again.
set -euo pipefail
cd "$(dirname "$0")/.."
source launch/dry_run.sh

workers="" port=8000 startup=300 grace=90
read_arguments "workers port startup grace" "" "$@"
require workers "a number of processes"
require_number workers "a number of processes"
require_number port "a port"
require_number startup "seconds"
require_number grace "seconds"
last_port=$((10#$port + 10#$workers - 1))
[ "$workers" -gt 0 ] || fail "--workers=0 serves nothing" "1 or more" "begin with half the number of cores"
if [ "$port" -lt 1 ] || [ "$last_port" -gt 65535 ]; then
  fail "there are no ports $port to $last_port" "ports from 1 to 65535" "choose another --port"
fi
[ ${#rest[@]} -gt 0 ] || fail "the arguments of the server are missing" \
  "arguments of lob_jax.main after a separate --" "add -- --config.serve.bundle=FOLDER"
for word in "${rest[@]}"; do
  case $word in --config.serve.port* | --config.serve.host* | --mode*)
    fail "$word is what this script chooses" "other arguments" "use --port=PORT before the --" ;;
  esac
done

# command_of K: set `command` to the words of the command that starts process K.
command_of() {
  local address=(--config.serve.host=127.0.0.1 --config.serve.port="$((10#$port + $1))")
  command=(python -m lob_jax.main --mode=serve "${address[@]}" "${rest[@]}")
}

if [ -n "$dry_run" ]; then
  quote source launch/environment.sh "[serve]"
  for ((k = 0; k < workers; k++)); do command_of "$k" && quote "${command[@]}"; done
  exit 0
fi

source launch/processes.sh
stopped="" failed="" killed_at=""

# tell SIGNAL: send a signal to the processes, and note when they are to be killed.
tell() {
  send "$1"
  [ -n "$killed_at" ] || killed_at=$((SECONDS + 10#$grace))
}

trap 'stopped=yes; tell TERM' TERM INT
trap 'tell KILL; rm -r "$scratch"' EXIT

# shellcheck source=environment.sh
source launch/environment.sh "[serve]"

start_all() {
  local k
  for ((k = 0; k < workers; k++)); do
    command_of "$k"
    [ -z "$stopped" ] || break
    start "${command[@]}"
  done
  [ -z "$stopped" ] || tell TERM  # once more: a signal may have come while one was being started
}

all_run() {
  local running
  list_running
  [ ${#running[@]} -eq "$workers" ]
}

wait_until_ready() {
  local k=0 deadline=$((SECONDS + 10#$startup))
  while [ "$k" -lt "$workers" ]; do
    if ! all_run || [ -n "$stopped" ]; then return; fi
    if answers $((10#$port + k)) /health/ready; then
      k=$((k + 1))
    elif [ "$SECONDS" -ge "$deadline" ]; then
      echo "the process on port $((10#$port + k)) is not ready after $startup seconds" >&2
      failed=1
      return
    else
      pause
    fi
  done
  echo "$workers processes are ready on ports $port to $last_port of 127.0.0.1"
}

# first_failure: set `failed` to the exit code of the first process that ended by itself, at least 1.
first_failure() {
  local k code running
  list_running
  [ -z "$stopped" ] || return 0  # they have been told to end
  for k in "${!pids[@]}"; do
    case " ${running[*]} " in *" ${pids[$k]} "*) continue ;; esac
    code=0
    wait "${pids[$k]}" || code=$?
    echo "the process on port $((10#$port + k)) ended with exit code $code: ending the others" >&2
    failed=$((code > 0 ? code : 1))
    return
  done
}

# end_all: wait until all have ended, kill those that take too long; return the first failure.
end_all() {
  local pid code running result=0
  while list_running && [ ${#running[@]} -gt 0 ]; do
    [ "$SECONDS" -lt "$killed_at" ] || tell KILL
    pause
  done
  for pid in "${pids[@]}"; do
    code=0
    wait "$pid" || code=$?
    case $result,$code in 0,0 | 0,143) ;; 0,*) result=$code ;; esac  # 143: ended by the SIGTERM that it was sent
  done
  return "${failed:-$result}"
}

start_all
wait_until_ready
while [ -z "$stopped$failed" ]; do
  if all_run; then pause; else first_failure; fi
done
[ -n "$stopped" ] || tell TERM
end_all
