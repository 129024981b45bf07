"""`python -m envhub [CONFIG.toml ...] [--environments A,B] [--port N]`: serve until SIGTERM or SIGINT."""

import asyncio
import logging
import resource
import signal
import sys
from contextlib import suppress

from common.aio import background
from common.role import run_role
from common.run_config import RoleConfig, TaskConfig
from envhub.config import HubConfig
from envhub.server import HubServer
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
    # Every client holds a connection, and a connection is a file.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    played = config.tasks.environments if config.tasks else ()
    asyncio.run(_serve(config.hub, played))
    return 0


async def _serve(config: HubConfig, played: tuple[str, ...]) -> None:
    stopped, hurried = asyncio.Event(), asyncio.Event()

    def signalled() -> None:
        (hurried if stopped.is_set() else stopped).set()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, signalled)
    async with serving(config, played=played) as server:
        environments = ",".join(server.pools.environments)
        _log.info("hub listened url=%s docs=%s/docs environments=%s", server.url, server.url, environments)
        await stopped.wait()
        _log.info("hub began to drain sessions=%d at_most_s=%g", len(server.sessions), config.drain_s)
        await _drain(server, hurried, config.drain_s)
        _log.info("hub drained sessions_cut=%d", len(server.sessions))


async def _drain(server: HubServer, hurried: asyncio.Event, deadline_s: float) -> None:
    """Until the last session has ended, the deadline is past, or somebody signals again."""

    async def drained() -> None:
        await server.sessions.drained()
        hurried.set()

    with suppress(TimeoutError):
        async with asyncio.timeout(deadline_s), background(drained()):
            await hurried.wait()


if __name__ == "__main__":
    sys.exit(main())
