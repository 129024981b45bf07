"""Puts an actor together from its configuration, whatever bus and hub it is given."""

import os
from functools import lru_cache
from pathlib import Path

from actors.actor import Actor
from actors.config import ActorConfig, ActorRoleConfig
from actors.engine.engine import Engine
from actors.engine.factory import make_engine
from actors.rollout import Table
from actors.weight_sync import WeightSync
from common.bus.bus import ActorBus
from common.prompt import Dialogue
from envhub.client import HubClient
from envhub.config import TOKEN_VARIABLE, HubConfig
from envhub.hub import Hub

CACHED_DIALOGUES = 256
"""Environments whose prepared templates are kept."""


def hub_client(hub: HubConfig, actor: ActorConfig) -> HubClient:
    """A client of the hub, with the actor's deadlines and limits and the token of the environment."""
    return HubClient(
        f"http://{hub.host}:{hub.port}",
        deadline_s=actor.environment_s,
        calls_per_s=actor.environment_calls_per_s,
        max_retries=actor.max_retries,
        token=os.environ.get(TOKEN_VARIABLE, ""),
    )


async def play_until_stopped(config: ActorRoleConfig, name: str, bus: ActorBus, hub: Hub) -> None:
    """Start the engine on policy 0 and play until the learner says stop; closes the bus and the engine."""
    folder = config.run.folder
    engine = make_engine(folder.policy_zero, config.actor.engine, config.model.lora)
    try:
        await engine.start()
        table = make_table(config, name, hub, engine, folder.policy_zero)
        sync = WeightSync(bus, engine, folder.path / "fetched" / name)
        await Actor(config.actor, config.bus, bus, table, sync).run()
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

    actor = config.actor
    return Table(
        name, hub, engine, dialogues, config.tasks.action_format, actor.episode_s, is_seeded=actor.is_seeded
    )
