#!/usr/bin/env bash
# Run Prometheus and Alertmanager beside a server on this machine, with the rules of lob_jax, on the loopback interface
# only. They are Debian's packages prometheus and prometheus-alertmanager; their own services are not needed.
# usage: bash launch/serve/monitor.sh --keyfile=FILE [options]
#   --keyfile=FILE        a file that holds a key of the server, and nothing else
#   --targets=HOST:PORT   the processes of the server, by commas (127.0.0.1:8000)
#   --folder=FOLDER       where data and configuration are kept (runs/monitoring)
#   --port=PORT           of Prometheus (9090)
#   --alerts=PORT         of Alertmanager (9093)
#   --every=SECONDS       between two readings of the metrics, and two looks at the rules (15)
#   --patience=SECONDS    how long any condition has to hold, in place of what its rule says: to try alerts out
#   --dry-run             print the commands
# When both answer, the script says where. SIGTERM and Ctrl-C end both; if one ends by itself, the other is ended, too.
set -euo pipefail
cd "$(dirname "$0")/../.."
source launch/dry_run.sh

keyfile="" targets=127.0.0.1:8000 folder=runs/monitoring port=9090 alerts=9093 every=15 patience=""
read_arguments "keyfile targets folder port alerts every patience" "" "$@"
require keyfile "a file that holds a key of the server"
for name in port alerts every; do require_number "$name" "a whole number"; done
[ -z "$patience" ] || require_number patience "seconds"

prometheus=(prometheus "--config.file=$folder/prometheus.yml" "--storage.tsdb.path=$folder/data"
  "--web.listen-address=127.0.0.1:$port" --log.level=warn)
alertmanager=(prometheus-alertmanager "--config.file=$folder/alertmanager.yml" "--storage.path=$folder/alerts"
  "--web.listen-address=127.0.0.1:$alerts" --cluster.listen-address= --log.level=warn)
if [ -n "$dry_run" ]; then
  quote "${prometheus[@]}"
  quote "${alertmanager[@]}"
  exit 0
fi

for program in prometheus prometheus-alertmanager; do
  command -v "$program" > /dev/null || fail "there is no program $program" "Debian's package $program" \
    "apt-get install --no-install-recommends $program"
done
[ -s "$keyfile" ] || fail "there is no key in $keyfile" "a file that holds a key of the server" \
  "python -m lob_jax.serving.http.keys add --file KEYS prometheus > $keyfile, with a umask of 077"

# write_configuration: put everything that both programs read into the folder.
write_configuration() {
  local list=${targets//,/\", \"}
  mkdir -p "$folder/rules"
  install -m 600 "$keyfile" "$folder/key"
  cp launch/serve/monitoring/alertmanager.yml "$folder/"
  # An address that has been put in is not replaced again: `t` ends with the line.
  sed -e "s/_interval: 15s/_interval: ${every}s/" -e "s/127.0.0.1:9093/127.0.0.1:$alerts/;t" \
    -e "s/127.0.0.1:8000/$list/" launch/serve/monitoring/prometheus.yml > "$folder/prometheus.yml"
  cp lob_jax/serving/monitoring/rules/*.yml "$folder/rules/"
  [ -z "$patience" ] || sed -i "s/^        for: .*/        for: ${patience}s/" "$folder"/rules/*.yml
}

source launch/processes.sh
stopped=""
trap 'stopped=yes' TERM INT
trap 'send TERM; wait; rm -r "$scratch"' EXIT

write_configuration
start "${prometheus[@]}"
start "${alertmanager[@]}"

told="" running=()
while list_running && [ -z "$stopped" ] && [ ${#running[@]} -eq 2 ]; do
  if [ -z "$told" ] && answers "$port" /-/ready && answers "$alerts" /-/ready; then
    echo "Prometheus: http://127.0.0.1:$port, Alertmanager: http://127.0.0.1:$alerts"
    told=yes
  fi
  pause
done
if [ -z "$stopped" ]; then
  echo "one of them has ended by itself: ending the other" >&2
  exit 1
fi
