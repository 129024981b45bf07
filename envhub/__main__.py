"""`python -m envhub CONFIG.toml [MORE.toml] [--hub.port=8700]`: serve until SIGTERM or SIGINT."""

import asyncio
import logging
import os
import signal
import sys

from common.role import run_role
from common.run_config import RoleConfig
from envhub.config import TOKEN_VARIABLE, HubConfig
from envhub.server import serving

_log = logging.getLogger("envhub")


class HubRoleConfig(RoleConfig):
    """The section of a run's configuration that the hub reads."""

    hub: HubConfig = HubConfig()


def main() -> int:
    """Serve; 0 after a clean stop, 1 when this machine cannot, 2 for a mistake in the configuration."""
    return run_role("hub", HubRoleConfig, _until_signal)


def _until_signal(config: HubRoleConfig) -> int:
    asyncio.run(_serve(config.hub, os.environ.get(TOKEN_VARIABLE, "")))
    return 0


async def _serve(config: HubConfig, token: str) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    async with serving(config, token) as server:
        _log.info("hub listened url=%s workers=%d", server.url, config.num_workers)
        await stopped.wait()
        _log.info("hub drained sessions=%d", len(server.sessions))


if __name__ == "__main__":
    sys.exit(main())
