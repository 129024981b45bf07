#!/usr/bin/env bash
# Train an agent on this machine: installs what is missing, then runs `pronghorn run`.
#
#   ./launch/local.sh [CONFIG.toml] [--section.field=value ...]      default: configs/quickstart.toml
#
# Needs Python 3.11 or 3.12. Ctrl-C stops cleanly; the same command resumes.
set -euo pipefail
source "$(dirname -- "${BASH_SOURCE[0]}")/install.sh"

if [ "${1:-}" = --help ] || [ "${1:-}" = -h ]; then
    sed -n '2,6s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
    exit 0
fi
if [ $# -eq 0 ] || [[ $1 == --* ]]; then
    set -- "$ROOT/configs/quickstart.toml" "$@"
fi
pronghorn_install
exec "$VENV/bin/pronghorn" run "$@"
