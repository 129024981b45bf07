"""Puts an actor together from its configuration, whatever bus and hub it is given."""

from contextlib import AsyncExitStack
from functools import lru_cache
from pathlib import Path
from typing import Any

from actors.actor import Actor
from actors.config import ActorConfig, ActorRoleConfig
from actors.engine.engine import Engine
from actors.engine.factory import make_engine
from actors.outbox import DiskOutbox, check_name
from actors.rollout import Table
from actors.weight_sync import WeightSync
from common.bus.bus import ActorBus
from common.prompt import Dialogue
from common.seeding import derive_seed
from common.weights.relayed import Relayed
from common.weights.store import store_directory
from envhub.client import HubClient
from envhub.config import HubConfig
from envhub.fleet import HubFleet
from envhub.hub import Hub
from envhub.tokens import own_token

CACHED_DIALOGUES = 256
"""Environments whose prepared templates are kept."""


def hub_client(hub: HubConfig, actor: ActorConfig, name: str = "") -> HubClient | HubFleet:
    """A client of the hub, or of all of `hub.urls`, with the actor's limits and the token of this host.

    `name`: whose choice of hubs it is; actors that draw alike would crowd together.
    """
    limits: dict[str, Any] = {
        "deadline_s": actor.environment_s,
        "calls_per_s": actor.environment_calls_per_s,
        "max_retries": actor.max_retries,
        "token": own_token(hub),
    }
    if not hub.urls:
        return HubClient(f"http://{hub.host}:{hub.port}", **limits)
    probes: dict[str, Any] = {
        "probe_s": hub.probe_s,
        "max_pause_s": hub.max_pause_s,
        "seed": derive_seed(0, name),
    }
    return HubFleet(hub.urls, **limits, **probes)


async def play_until_stopped(config: ActorRoleConfig, name: str, bus: ActorBus, hub: Hub) -> None:
    """Start the engine on policy 0 and play until the learner says stop; closes the bus and the engine.

    ConfigurationError when `name` cannot name a folder.
    """
    check_name(name)
    folder = config.run.folder
    async with AsyncExitStack() as stack:
        engine = make_engine(folder.policy_zero, config.actor.engine, config.model.lora)
        stack.push_async_callback(engine.close)
        stack.push_async_callback(bus.close)
        await engine.start()
        table = make_table(config, name, hub, engine, folder.policy_zero)
        relayed = Relayed(store_directory(folder.path), config.relay.patience_s)
        sync = WeightSync(bus, engine, folder.path / "fetched" / name, relayed)
        outbox = DiskOutbox(folder.outbox / name, config.run.name)
        await Actor(config.actor, config.bus, bus=bus, table=table, sync=sync, outbox=outbox).run()


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
