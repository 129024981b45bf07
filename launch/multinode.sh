#!/usr/bin/env bash
# Train with actors on several hosts: learner and hub on the first, actors on all.
#
#   ./launch/multinode.sh "HOST1 HOST2 ..." CONFIG.toml [--section.field=value ...]
#
# Needs: this checkout at the same path on every host with its environment installed (launch/local.sh does that),
# the run directory on a file system that all hosts share, and ssh from here to every host, and from HOST1 to the
# others, without a password. `localhost` as HOST1 is this machine.
# Nothing listens beyond the loopback interface: actors reach the hub and the learner through ssh tunnels, on the
# same port numbers and without a token. Ctrl-C stops all; the same command resumes. Logs of remote actors:
# RUN/logs/actor-HOST.log.
set -euo pipefail
source "$(dirname -- "${BASH_SOURCE[0]}")/install.sh"

if [ $# -lt 2 ] || [ "$1" = --help ] || [ "$1" = -h ]; then
    sed -n '2,12s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
    if [ $# -lt 2 ] && [ "${1:-}" != --help ] && [ "${1:-}" != -h ]; then exit 2; fi
    exit 0
fi
read -r -a hosts <<<"$1"
shift
first=${hosts[0]}
SSH=(ssh -o BatchMode=yes -o ExitOnForwardFailure=yes -o ServerAliveInterval=15 -o ServerAliveCountMax=4)
quoted=$(printf '%q ' "$@")

if [ -n "${PRONGHORN_HUB_TOKEN:-}" ]; then
    say "PRONGHORN_HUB_TOKEN stays unused: over several hosts the hub listens on the loopback interface alone"
fi

# on HOST COMMAND [SSH-OPTION ...]: in the checkout; on this machine when the host is called localhost.
on() {
    local host=$1 command="unset PRONGHORN_HUB_TOKEN; $2"
    shift 2
    if [ "$host" = localhost ]; then
        (cd "$ROOT" && bash -c "$command")
    else
        "${SSH[@]}" "$@" "$host" "cd $(printf %q "$ROOT") && { $command; }"
    fi
}

for host in "${hosts[@]}"; do
    on "$host" "test -x .venv/bin/pronghorn" -n || {
        say "$host: no environment in $ROOT, or no ssh; run ./launch/local.sh --help there once"
        exit 1
    }
done

# Where the run lives, its name, and the ports that its configuration fixes. Tunnels need the same number on both sides.
settings=$(on "$first" ".venv/bin/python -m launch.tunnels $quoted" -n) || exit 1
read -r folder hub ledger policy weights <<<"$settings"
fixed=(--hub.port="$hub" --bus.ledger_port="$ledger" --bus.policy_port="$policy" --bus.weights_port="$weights")

pids=()
# Each remote actor is a process group of its own: with the loop dies the ssh that it waits for.
stop() { [ ${#pids[@]} -eq 0 ] || kill -- "${pids[@]/#/-}" 2>/dev/null || true; }
trap stop EXIT

# An actor of a host behind tunnels to the first; started again until the run is over. It waits for the learner's
# ledger: before that, what it would play with as policy 0 may not be there yet. Its ports are given, as the
# config.toml of a run that is being resumed still has the old ones.
remote_actor() {
    local host=$1 tunnels=() port log actor command
    for port in "$hub" "$ledger" "$policy" "$weights"; do tunnels+=(-R "127.0.0.1:$port:127.0.0.1:$port"); done
    log=$(printf %q "$folder/logs/actor-$host.log")
    actor="exec .venv/bin/pronghorn actor $(printf %q "$folder/config.toml") --name=actor-$host ${fixed[*]}"
    command="cd $(printf %q "$ROOT") && unset PRONGHORN_HUB_TOKEN && $actor >>$log 2>&1"
    while :; do
        if on "$first" "test -e $(printf %q "$folder/ledger.sqlite")" -n; then
            # With a terminal at the other end, what runs there ends when the connection does.
            on "$first" "${SSH[*]} -tt -n ${tunnels[*]} $host $(printf %q "$command") >>$log 2>&1" -tt -n && return
        fi
        sleep 10
    done
}

set -m
for host in "${hosts[@]:1}"; do
    remote_actor "$host" </dev/null &
    pids+=($!)
done
set +m
# With a terminal on the first host, Ctrl-C reaches the run there.
terminal=()
if [ -t 0 ]; then terminal=(-t); fi
on "$first" ".venv/bin/pronghorn run $quoted ${fixed[*]}" "${terminal[@]}"
