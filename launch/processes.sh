# Sourced by the scripts that run programs beside each other: start them, ask whether they are ready, and signal them.
# usage: source launch/processes.sh; start python server.py; answers 8000 /health/ready; send TERM

pids=()
follow=()  # should the script be killed, the system tells its programs to end, where it can
! command -v setpriv > /dev/null || ! setpriv --pdeathsig TERM true 2> /dev/null || follow=(setpriv --pdeathsig TERM)

# start COMMAND...: start a program. It becomes a process group, which a Ctrl-C does not reach: the script passes it on.
start() {
  set -m
  ${follow[@]+"${follow[@]}"} "$@" < /dev/null 9>&- &
  pids+=($!)
  set +m
}

# send SIGNAL: send a signal to the programs that have not ended. `jobs` knows only processes of this script, so that a
# number that the system has given to another process since is never used.
send() {
  local pid
  for pid in $(jobs -rp); do kill "-$1" "$pid" 2> /dev/null || true; done
}

# answers PORT PATH: ask the program on a port whether it is ready.
answers() {
  local status=""
  { exec 8<> "/dev/tcp/127.0.0.1/$1"; } 2> /dev/null || return 1
  printf 'GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' "$2" >&8 2> /dev/null || true
  read -r -t 5 _ status _ <&8 || true
  exec 8>&-
  [ "$status" = 200 ]
}
