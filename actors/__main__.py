"""`python -m actors CONFIG.toml --name=actor-0`: one actor process of a run."""

import argparse
import asyncio
import os
import sys
from pathlib import Path

from actors.assembly import hub_client, play_until_stopped
from actors.config import ActorRoleConfig
from common.bus.tcp_actor import TcpActorBus
from common.config import load
from common.errors import PronghornError
from common.log import configure_logging


def main() -> int:
    """Play until the learner says stop; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m actors")
    parser.add_argument("config", nargs="+", type=Path)
    parser.add_argument("--name", default=f"actor-{os.getpid()}")
    known, overrides = parser.parse_known_args()
    try:
        config = load(ActorRoleConfig, known.config, overrides)
        configure_logging(known.name)
        asyncio.run(_run(config, known.name))
    except PronghornError as error:
        print(f"pronghorn actor: {error}", file=sys.stderr)  # noqa: T201 - the one line for the person
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    return 0


async def _run(config: ActorRoleConfig, name: str) -> None:
    async with hub_client(config.hub, config.actor) as hub:
        await play_until_stopped(config, name, TcpActorBus(config.bus, name, config.run.name), hub)


if __name__ == "__main__":
    sys.exit(main())
