#!/bin/bash
# Two hosts on one machine: network namespaces joined by a cable, a Ray node in each; one is lost in the middle of a run.
#
#   unshare -Urnm --pid --fork --kill-child --mount-proc two_hosts.sh PYTHON TOURNAMENT FOLDER
#
# In namespaces of its own it needs no rights, meets no neighbour, and leaves nothing: they end with this script.
# What arena says goes to FOLDER.run and FOLDER.resume, exit codes last.
set -euo pipefail
python=$1 tournament=$2 folder=$3
ray=$(dirname "$python")/ray

mount -t tmpfs none /run # ip keeps names of namespaces there, and Ray its sockets: their paths must be short
ip link set lo up
ip netns add attacks
ip netns add oracles
ip link add cable_a netns attacks type veth peer name cable_o netns oracles
ip -n attacks addr add 10.77.0.1/24 dev cable_a
ip -n oracles addr add 10.77.0.2/24 dev cable_o
for end in attacks:cable_a oracles:cable_o; do
  ip -n "${end%:*}" link set lo up
  ip -n "${end%:*}" link set "${end#*:}" up
done

# A node whose processes are gone is dead after 1.5 s; Ray's default is 13 s. Stated: a machine may have a token.
export TMPDIR=/run RAY_AUTH_MODE=disabled RAY_USAGE_STATS_ENABLED=0 RAY_health_check_initial_delay_ms=1000 \
  RAY_health_check_period_ms=500 RAY_health_check_timeout_ms=1000 RAY_health_check_failure_threshold=3

start_node() { # NAMESPACE IP OPTION...
  ip netns exec "$1" "$ray" start --node-ip-address="$2" --num-cpus=2 --object-store-memory=100000000 \
    --resources="{\"$1_node\": 1}" --disable-usage-stats "${@:3}"
}
start_oracles() { start_node oracles 10.77.0.2 --address=10.77.0.1:6379; }
arena() { ip netns exec attacks env ARENA_NODE_IP=10.77.0.1 "$python" -m arena.cli "$@"; }
lines() { if [ -e "$folder/journal.jsonl" ]; then wc -l <"$folder/journal.jsonl"; else echo 0; fi; }

{
  start_node attacks 10.77.0.1 --head --port=6379 --include-dashboard=false --temp-dir=/run/ray
  start_oracles
} >"$folder.nodes" 2>&1

(
  set +e
  arena run "$tournament" --runner ray --address 10.77.0.1:6379 --mlflow none --out "$folder"
  echo "exit $?"
) >"$folder.run" 2>&1 &
while [ "$(lines)" -lt 3 ] && kill -0 $!; do sleep 0.05; done
ip netns pids oracles | xargs kill -KILL
start_oracles >>"$folder.nodes" 2>&1
wait $!

cp -r "$folder" "$folder.first"
head -n 5 "$folder.first/journal.jsonl" >"$folder/journal.jsonl"
set +e
arena resume "$folder" >"$folder.resume" 2>&1
echo "exit $?" >>"$folder.resume"
