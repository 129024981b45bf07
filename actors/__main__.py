"""`python -m actors CONFIG.toml --name=actor-0`: one actor process of a run."""

import argparse
import asyncio
import os
import sys

from actors.assembly import hub_client, play_until_stopped
from actors.config import ActorRoleConfig
from common.bus.tcp_actor import TcpActorBus
from common.role import run_role


def main() -> int:
    """Play until the learner says stop; the exit code."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--name", default=f"actor-{os.getpid()}")
    known, others = parser.parse_known_args()

    def work(config: ActorRoleConfig) -> int:
        asyncio.run(_run(config, known.name))
        return 0

    return run_role("actor", ActorRoleConfig, work, process=known.name, arguments=others)


async def _run(config: ActorRoleConfig, name: str) -> None:
    async with hub_client(config.hub, config.actor, name) as hub:
        await play_until_stopped(config, name, TcpActorBus(config.bus, name, config.run.name), hub)


if __name__ == "__main__":
    sys.exit(main())
