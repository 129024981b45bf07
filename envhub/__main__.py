"""`python -m envhub [CONFIG.toml ...] [--environments A,B] [--port N]`: serve until SIGTERM or SIGINT."""

import asyncio
import logging
import os
import signal
import sys

from common.role import run_role
from common.run_config import RoleConfig, TaskConfig
from envhub.config import TOKEN_VARIABLE, HubConfig
from envhub.serving import serving

SHORTCUTS = {"environments": "hub.environments", "host": "hub.host", "port": "hub.port"}

_log = logging.getLogger("envhub")


class HubRoleConfig(RoleConfig):
    """The sections of a run's configuration that the hub reads."""

    hub: HubConfig = HubConfig()
    tasks: TaskConfig | None = None
    """What a run plays is served too, whatever package it comes from."""


def main() -> int:
    """Serve; 0 after a clean stop, 1 when this machine cannot, 2 for a mistake in the configuration."""
    return run_role("hub", HubRoleConfig, _until_signal, shortcuts=SHORTCUTS)


def _until_signal(config: HubRoleConfig) -> int:
    played = config.tasks.environments if config.tasks else ()
    asyncio.run(_serve(config.hub, played, os.environ.get(TOKEN_VARIABLE, "")))
    return 0


async def _serve(config: HubConfig, played: tuple[str, ...], token: str) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    async with serving(config, token, played=played) as server:
        _log.info("hub listened url=%s environments=%s", server.url, ",".join(server.pools.environments))
        await stopped.wait()
        _log.info("hub drained sessions=%d", len(server.sessions))


if __name__ == "__main__":
    sys.exit(main())
