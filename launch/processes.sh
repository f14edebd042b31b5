# Sourced by the scripts that run programs beside each other: start them, ask whether they are ready, and signal them.
# usage: source launch/processes.sh; start python server.py; answers 8000 /health/ready; send TERM; rm -r "$scratch"

pids=() scratch=$(mktemp -d)
mkfifo "$scratch/never" && exec 9<> "$scratch/never"  # nothing is written to it: reading it only waits
follow=()  # should the script be killed, the system tells its programs to end, where it can
! command -v setpriv > /dev/null || ! setpriv --pdeathsig TERM true 2> /dev/null || follow=(setpriv --pdeathsig TERM)

# start COMMAND...: start a program. It becomes a process group, which a Ctrl-C does not reach: the script passes it on.
start() {
  set -m
  ${follow[@]+"${follow[@]}"} "$@" < /dev/null 9>&- &
  pids+=($!)
  set +m
}

# list_running: set `running`, local to the caller, to the process ids of the programs that have not ended. `jobs` knows
# only processes of this script, so that a number that the system has given to another process since is never used. It
# writes to a file, because a Ctrl-C would also reach the subshell of a command substitution.
list_running() {
  jobs -rp > "$scratch/running"
  mapfile -t running < "$scratch/running"
}

# send SIGNAL: send a signal to the programs that have not ended.
send() {
  local pid running
  list_running
  for pid in "${running[@]}"; do kill "-$1" "$pid" 2> /dev/null || true; done
}

# pause: wait for half a second, or until a signal comes.
pause() { read -r -t 0.5 -u 9 || true; }

# answers PORT PATH: ask the program on a port whether it is ready.
answers() {
  local status=""
  { exec 8<> "/dev/tcp/127.0.0.1/$1"; } 2> /dev/null || return 1
  printf 'GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' "$2" >&8 2> /dev/null || true
  read -r -t 5 _ status _ <&8 || true
  exec 8>&-
  [ "$status" = 200 ]
}
