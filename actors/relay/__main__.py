"""`python -m actors.relay CONFIG.toml --name=NAME`: one relay process; it ends when it is told to."""

import argparse
import asyncio
import signal
import socket
import sys

from actors.relay.config import RelayRoleConfig
from actors.relay.service import serve
from common.role import INTERRUPTED, run_role


def main() -> int:
    """Relay until SIGINT or SIGTERM; the exit code is that of what was stopped in good order."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--name", default=f"relay-{socket.gethostname()}")
    known, others = parser.parse_known_args()

    def work(config: RelayRoleConfig) -> int:
        asyncio.run(_until_stopped(config, known.name))
        return INTERRUPTED

    return run_role("relay", RelayRoleConfig, work, process=known.name, arguments=others)


async def _until_stopped(config: RelayRoleConfig, name: str) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    async with serve(config, name):
        await stopped.wait()


if __name__ == "__main__":
    sys.exit(main())
