# Sourced by the launchers: parse arguments, show usage and errors, and run commands, or print them with --dry-run.
# usage: source launch/dry_run.sh; read_arguments "name zone" "spot" "$@"; require name "a name"; run gcloud ...

readonly EXIT_INPUT=2   # bad arguments, as in lob_jax.main
readonly EXIT_SAVED=75  # lob_jax.main stopped after saving: the same command resumes
dry_run=""
rest=()  # the arguments after `--`

usage() {
  awk 'NR == 1 { next } !/^#/ { exit } { sub(/^# ?/, ""); print }' "$0"
}

# fail WHAT EXPECTED REMEDY
fail() {
  printf 'error: %s\n  where:    %s\n  expected: %s\n  remedy:   %s\n' "$1" "launch/$(basename "$0")" "$2" "$3" >&2
  exit "$EXIT_INPUT"
}

has_word() {
  case " $1 " in *" $2 "*) return 0 ;; esac
  return 1
}

# read_arguments OPTIONS SWITCHES "$@": set the variable named after each --option=value and --switch.
read_arguments() {
  local known_options=$1 known_switches=$2 argument key value
  shift 2
  while [ $# -gt 0 ]; do
    argument=$1 key=${1#--} && key=${key%%=*}
    shift
    case $argument in
      --) rest=("$@"); return ;;
      --help | -h) usage; exit 0 ;;
      --dry-run) dry_run=yes; continue ;;
    esac
    if [ "$argument" = "--$key" ] && has_word "$known_switches" "$key"; then
      printf -v "$key" yes
    elif [ "$argument" != "$key" ] && has_word "$known_options" "$key"; then
      value=${argument#"--$key"} value=${value#=}
      if [ "$argument" = "--$key" ] && [ $# -gt 0 ]; then value=$1 && shift; fi
      case $value in "" | --*) fail "--$key has no value" "--$key=VALUE" "add its value, see --help" ;; esac
      printf -v "$key" %s "$value"
    else
      fail "there is no argument $argument" "$(list_arguments "$known_options" "$known_switches")" \
        "correct it, see --help; arguments of lob_jax.main go after a separate --"
    fi
  done
}

list_arguments() {
  local word
  for word in $1; do printf -- '--%s=, ' "$word"; done
  for word in $2; do printf -- '--%s, ' "$word"; done
  printf -- '--dry-run or --help\n'
}

# require NAME EXPECTED: fail unless the option --NAME has been given.
require() {
  [ -n "${!1}" ] || fail "--$1 is missing" "$2" "add --$1=..."
}

require_number() {
  case ${!1} in "" | *[!0-9]*) fail "--$1=${!1} is not a whole number" "$2" "use digits only" ;; esac
}

# Fail unless there are arguments for lob_jax.main.
require_run() {
  [ ${#rest[@]} -gt 0 ] || fail "the arguments of the run are missing" "arguments of lob_jax.main after a separate --" \
    "add -- --config=configs/base.py --workdir=FOLDER"
}

# Fail unless these include a --workdir: the default is a new folder for each process, but all processes must share one.
require_shared_workdir() {
  local word
  require_run
  for word in "${rest[@]}"; do
    case $word in --workdir | --workdir=*) return ;; esac
  done
  fail "the run has no --workdir" "one folder that every process sees" \
    "add --workdir=FOLDER after the --, on a file system that all machines share"
}

# quote WORDS: print one line that any shell parses as these words.
quote() {
  local word line="" mark="'" escaped="'\"'\"'"
  for word in "$@"; do
    case $word in "" | *[!A-Za-z0-9_@%+=:,./-]*) word="'${word//$mark/$escaped}'" ;; esac
    line+="${line:+ }$word"
  done
  printf '%s\n' "$line"
}

run() {
  if [ -n "$dry_run" ]; then quote "$@"; else "$@"; fi
}

# on_workers WORKER COMMAND: run a shell command on one worker, or on all, of the TPU VM given by --name and --zone.
on_workers() {
  # shellcheck disable=SC2154  # set by the calling script's options
  run gcloud compute tpus tpu-vm ssh "$name" --zone="$zone" ${project:+--project="$project"} --worker="$1" \
    --command="$2"
}

# again_while_saved COMMAND: run it, again while it exits with 75 and `stopped` is empty; return its last exit code.
again_while_saved() {
  local code
  while true; do
    code=0
    "$@" || code=$?
    if [ "$code" -ne "$EXIT_SAVED" ] || [ -n "${stopped:-}" ]; then return "$code"; fi
    echo "stopped after saving ($EXIT_SAVED): starting it again"
    sleep "${RESTART_PAUSE:-5}"  # so that the other machines stop too, and the coordinator's port is released
  done
}
