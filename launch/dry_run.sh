# Sourced by the launchers: arguments, usage, errors, and commands that are run, or only printed under --dry-run.
# usage: source launch/dry_run.sh; read_arguments "name zone" "spot" "$@"; require name "a name"; run gcloud ...

readonly EXIT_INPUT=2   # bad arguments, as in lob_jax.main
readonly EXIT_SAVED=75  # lob_jax.main stopped after saving: the same command goes on
dry_run=""
rest=()  # what stands behind `--`

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

# read_arguments OPTIONS SWITCHES "$@": sets the variable of each --option=value and --switch that is given.
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
      case $value in "" | --*) fail "--$key has no value" "--$key=VALUE" "write its value behind it, see --help" ;; esac
      printf -v "$key" %s "$value"
    else
      fail "there is no argument $argument" "$(list_arguments "$known_options" "$known_switches")" \
        "correct it, see --help; arguments of lob_jax.main go behind a lone --"
    fi
  done
}

list_arguments() {
  local word
  for word in $1; do printf -- '--%s=, ' "$word"; done
  for word in $2; do printf -- '--%s, ' "$word"; done
  printf -- '--dry-run or --help\n'
}

# require NAME EXPECTED: the option --NAME has been given.
require() {
  [ -n "${!1}" ] || fail "--$1 is missing" "$2" "add --$1=..."
}

require_number() {
  case ${!1} in "" | *[!0-9]*) fail "--$1=${!1} is no whole number" "$2" "write it in digits alone" ;; esac
}

# There are arguments for lob_jax.main.
require_run() {
  [ ${#rest[@]} -gt 0 ] || fail "nothing is said of the run" "arguments of lob_jax.main behind a lone --" \
    "add -- --config=configs/base.py --workdir=FOLDER"
}

# There is one folder among them that all the processes see; each would take its own by default.
require_shared_workdir() {
  local word
  require_run
  for word in "${rest[@]}"; do
    case $word in --workdir | --workdir=*) return ;; esac
  done
  fail "the run has no --workdir" "one folder that every process sees" \
    "add --workdir=FOLDER behind the --, on a file system that all the machines share"
}

# quote WORDS: one line that any shell reads back as these words.
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

# on_workers WORKER COMMAND: run a line of shell on one worker of the TPU VM that --name and --zone name, or on all.
on_workers() {
  # shellcheck disable=SC2154  # the script that calls it has these options
  run gcloud compute tpus tpu-vm ssh "$name" --zone="$zone" ${project:+--project="$project"} --worker="$1" \
    --command="$2"
}

# again_while_saved COMMAND: run it, and again while it ends with 75 and `stopped` is empty; its last exit code.
again_while_saved() {
  local code
  while true; do
    code=0
    "$@" || code=$?
    if [ "$code" -ne "$EXIT_SAVED" ] || [ -n "${stopped:-}" ]; then return "$code"; fi
    echo "stopped after saving ($EXIT_SAVED): starting it again"
    sleep "${RESTART_PAUSE:-5}"  # the other machines end too, and the coordinator's port becomes free
  done
}
