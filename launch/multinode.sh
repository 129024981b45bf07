#!/usr/bin/env bash
# Train over several hosts.
#
#   ./launch/multinode.sh "HOST1 HOST2 ..." CONFIG.toml [--section.field=value ...]
#   ./launch/multinode.sh HOSTS_FILE CONFIG.toml [...]       one host per line, with its roles and address
#   ./launch/multinode.sh CONFIG.toml [...]                  inside a Slurm allocation: its nodes, through srun
#   ./launch/multinode.sh --join "HOST [address=IP] [...]" RUN_FOLDER      one more host for a run that goes on
#
# Of a plain list the first host has learner, hub and actors, every other one actors and a weight relay.
# Needs: Pronghorn's checkout and environment at the same path on every host (launch/local.sh makes it), and ssh to
# every host without a password. No shared file system. PRONGHORN_SSH replaces `ssh` and its options.
# Hosts connect to each other directly: the bus with CURVE keys that are made for the run, the hubs with a token.
# Ctrl-C stops all; the same command resumes. Logs of all hosts: RUN/logs/HOST-ROLE.log. docs/multinode.md has more.
set -euo pipefail
source "$(dirname -- "${BASH_SOURCE[0]}")/install.sh"

if [ $# -eq 0 ] || [ "$1" = --help ] || [ "$1" = -h ]; then
    sed -n '2,15s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
    [ $# -gt 0 ] || exit 2
    exit 0
fi
if [ ! -x "$VENV/bin/python" ]; then
    say "no environment in $VENV; run ./launch/local.sh --help, then ./launch/local.sh once"
    exit 1
fi
export PYTHONPATH=$ROOT${PYTHONPATH:+:$PYTHONPATH}
exec "$VENV/bin/python" -m launch.hosts "$@"
