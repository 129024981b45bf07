"""`python -m actors CONFIG.toml --name=actor-0`: one actor process of a run."""

import argparse
import asyncio
import os
import sys
from functools import lru_cache
from pathlib import Path

from actors.actor import Actor
from actors.config import ActorRoleConfig
from actors.engine.engine import Engine
from actors.engine.factory import make_engine
from actors.rollout import Table
from actors.weight_sync import WeightSync
from common.bus.tcp_actor import TcpActorBus
from common.config import load
from common.errors import PronghornError
from common.log import configure_logging
from common.prompt import Dialogue
from envhub.client import HubClient
from envhub.hub import Hub

CACHED_DIALOGUES = 256
"""Environments whose prepared templates are kept."""


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
    model = config.run.folder.policy_zero
    bus = TcpActorBus(config.bus, name, config.run.name)
    engine = make_engine(model, config.actor.engine)
    hub = HubClient(
        f"http://{config.hub.host}:{config.hub.port}",
        deadline_s=config.actor.environment_s,
        calls_per_s=config.actor.environment_calls_per_s,
        max_retries=config.actor.max_retries,
        token=os.environ.get("PRONGHORN_HUB_TOKEN", ""),
    )
    weights = config.run.folder.path / "fetched" / name
    async with hub:
        try:
            await engine.start()
            actor = Actor(
                config.actor,
                config.bus,
                bus,
                make_table(config, name, hub, engine, model),
                WeightSync(bus, engine, weights),
            )
            await actor.run()
        finally:
            await bus.close()
            await engine.close()


def make_table(config: ActorRoleConfig, name: str, hub: Hub, engine: Engine, model: Path) -> Table:
    """What the actor plays with; the tokenizer is the model's own."""
    from transformers import AutoTokenizer  # seconds of import that a wrong configuration need not pay

    tokenizer = AutoTokenizer.from_pretrained(model)

    @lru_cache(maxsize=CACHED_DIALOGUES)
    def dialogues(instructions: str) -> Dialogue:
        return Dialogue(tokenizer, instructions)

    return Table(name, hub, engine, dialogues, config.tasks.action_format, config.actor.episode_s)


if __name__ == "__main__":
    sys.exit(main())
