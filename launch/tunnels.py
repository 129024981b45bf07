"""What `launch/multinode.sh` must know before it starts: the run's folder and one port per channel.

`python -m launch.tunnels CONFIG.toml [--section.field=value ...]` prints one line:
`FOLDER HUB LEDGER POLICY WEIGHTS`. The ports are those of the configuration; where it leaves them open,
free ones of this host.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from common.config import load
from common.errors import ConfigurationError, PronghornError
from launch.cli import split_overrides
from launch.config import RunConfig
from launch.preflight import check, ports
from launch.run_folder import with_ports

LOOPBACK = "127.0.0.1"
"""Where every tunnel begins and ends."""


def describe(arguments: Sequence[str]) -> str:
    """The line; ConfigurationError for a host beyond tunnels and a path that a shell would cut at a blank."""
    files, overrides = split_overrides(arguments)
    config = load(RunConfig, [Path(file) for file in files], overrides)
    for name, host in (("hub.host", config.hub.host), ("bus.host", config.bus.host)):
        if host != LOOPBACK:
            raise ConfigurationError(
                f"{name} = {host!r}: a run over several hosts goes through tunnels; allowed is {LOOPBACK!r}"
            )
    check(config)
    folder = str(config.run.folder.path.resolve())
    if any(character.isspace() for character in folder):
        raise ConfigurationError(
            f"run.directory = {folder!r}: a run over several hosts needs a path without blanks"
        )
    return " ".join([folder, *(str(port) for _, _, port in ports(with_ports(config)))])


def main() -> int:
    """Print the line; the exit code."""
    try:
        print(describe(sys.argv[1:]))
    except PronghornError as error:
        print(f"pronghorn: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
