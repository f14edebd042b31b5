#!/usr/bin/env bash
# Run on the GPUs of this machine, or of several reached by ssh: process K on host K, all ended when one fails.
# usage: bash launch/gpu_run.sh [options] -- --config=... --workdir=... [more of lob_jax.main]
#   --hosts=A,B,C    reached by ssh without a password, each with this repository; by default this machine, without ssh
#   --port=PORT      free on the first host, where the processes meet (8476)
#   --directory=DIR  the repository on every host (by default its path here)
#   --dry-run        print the commands
# One process a host has all its GPUs. Stopped after saving (exit code 75), all are started again. Ctrl-C or SIGTERM,
# and a lost connection, let them save and end; a second Ctrl-C ends the one on this machine at once. Several hosts need
# a --workdir that all of them see. Variables of this shell do not reach the other hosts.
set -euo pipefail
source "$(dirname "$0")/dry_run.sh"

hosts=localhost port=8476 directory=$(cd "$(dirname "$0")/.." && pwd)
read_arguments "hosts port directory" "" "$@"
require_number port "a port"
case ,$hosts, in *,,*) fail "--hosts=$hosts has an empty name" "names with single commas between" "correct it" ;; esac
IFS=, read -r -a host <<< "$hosts"
if [ "${#host[@]}" -gt 1 ]; then
  require_shared_workdir
  case ,$hosts, in *,localhost,*) fail "localhost is one of several hosts" "names by which each host finds the others" \
    "name this machine as the others know it" ;; esac
else
  require_run
fi

# command_of K: sets `command`, the words that start process K.
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

# The processes read a pipe that this script holds open; when it is let go, by `release` or by this script's end,
# standard input ends for all of them, also behind ssh, which would not pass a signal on.
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

# run_all: one process a host, until all have ended: the first failure, or 75 if one stopped after saving, or 0.
run_all() {
  local k code left=${#host[@]} result=0
  rm -f "$scratch/hold" "$scratch/ends" && mkfifo "$scratch/hold" "$scratch/ends"
  # shellcheck disable=SC2094  # a pipe held open by its writer, and its reading end
  exec 3<> "$scratch/hold" 4< "$scratch/hold" 5<> "$scratch/ends"
  for k in "${!host[@]}"; do
    command_of "$k"
    start "$k" <&4 3>&- 4<&- &
  done
  exec 4<&-
  while [ "$left" -gt 0 ]; do
    read -r -t 1 k code <&5 || continue  # a second at most, so that signals are seen
    left=$((left - 1))
    case $result,$code in
      *,0 | *,"$EXIT_SAVED") [ "$result" -ne 0 ] || result=$code ;;
      0,* | "$EXIT_SAVED",*)
        result=$code
        echo "process $k on ${host[$k]} failed with exit code $code: ending the others" >&2
        release
        ;;
    esac
  done
  release
  wait
  return "$result"
}

again_while_saved run_all
