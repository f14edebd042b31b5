#!/usr/bin/env bash
# Run on the GPUs of this machine, or of several machines over ssh: process K on host K; if one fails, all are stopped.
# usage: bash launch/gpu_run.sh [options] -- --config=... --workdir=... [more of lob_jax.main]
#   --hosts=A,B,C    hosts with this repository, reachable by ssh without a password; default: this machine, without ssh
#   --port=PORT      a free port on the first host, for the coordinator (8476)
#   --directory=DIR  path of the repository on every host (by default its path here)
#   --dry-run        print the commands
# One process per host uses all its GPUs. After a stop that saved (exit code 75), all are restarted. Ctrl-C, SIGTERM and
# a lost connection let them save and exit; a second Ctrl-C ends the process on this machine at once. Several hosts
# need a --workdir that all of them share. Environment variables of this shell are not passed to the other hosts.
set -euo pipefail
source "$(dirname "$0")/dry_run.sh"

hosts=localhost port=8476 directory=$(cd "$(dirname "$0")/.." && pwd)
read_arguments "hosts port directory" "" "$@"
require_number port "a port"
case ,$hosts, in *,,*) fail "--hosts=$hosts has an empty name" "names separated by commas" "remove a comma" ;; esac
IFS=, read -r -a host <<< "$hosts"
if [ "${#host[@]}" -gt 1 ]; then
  require_shared_workdir
  case ,$hosts, in *,localhost,*) fail "localhost is one of several hosts" "names that every host can resolve" \
    "use the name by which the others know this machine" ;; esac
else
  require_run
fi

# command_of K: set `command` to the words of the command that starts process K.
command_of() {
  command=(bash "$directory/launch/worker.sh" --platform=gpu --attached --)
  if [ "${#host[@]}" -gt 1 ]; then
    command+=(--coordinator="${host[0]}:$port" --processes="${#host[@]}" --process="$1")
  fi
  command+=("${rest[@]}")
  if [ "${host[$1]}" != localhost ]; then
    command=(ssh -o BatchMode=yes -o ServerAliveInterval=30 "${host[$1]}" "$(quote "${command[@]}")")
  fi
}

if [ -n "$dry_run" ]; then
  for k in "${!host[@]}"; do command_of "$k" && quote "${command[@]}"; done
  exit 0
fi

stopped="" scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# The processes read a pipe that this script keeps open. When it is closed, by `release` or at this script's end, their
# standard input ends, also over ssh, which does not forward signals.
release() { exec 3>&-; }
trap 'stopped=yes; release' TERM INT

start() {
  local code=0
  if [ "${#host[@]}" -gt 1 ]; then
    "${command[@]}" 2>&1 | while IFS= read -r line; do printf '[%s] %s\n' "${host[$1]}" "$line"; done || code=$?
  else
    "${command[@]}" || code=$?
  fi
  echo "$1 $code" >&5
}

# run_all: run one process per host until all have ended; return the first failure, else 75 if one of them stopped after
# saving, else 0.
run_all() {
  local k code left=${#host[@]} result=0
  rm -f "$scratch/hold" "$scratch/ends" && mkfifo "$scratch/hold" "$scratch/ends"
  # shellcheck disable=SC2094  # a named pipe, opened for both writing and reading
  exec 3<> "$scratch/hold" 4< "$scratch/hold" 5<> "$scratch/ends"
  for k in "${!host[@]}"; do
    command_of "$k"
    start "$k" <&4 3>&- 4<&- &
  done
  exec 4<&-
  while [ "$left" -gt 0 ]; do
    read -r -t 1 k code <&5 || continue  # wait at most a second, so that signals are handled
    left=$((left - 1))
    case $result,$code in
      *,0 | *,"$EXIT_SAVED") [ "$result" -ne 0 ] || result=$code ;;
      0,* | "$EXIT_SAVED",*)
        result=$code
        echo "process $k on ${host[$k]} failed with exit code $code: stopping the others" >&2
        release
        ;;
    esac
  done
  release
  wait
  return "$result"
}

again_while_saved run_all
