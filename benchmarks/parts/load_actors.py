"""Many actors in one process: everything of theirs is real but the engine and the tokenizer.

Real: `Actor`, its outbox on the disk, its bus over TCP, its client of the hub. Scripted: the engine, which
says the same action at once, and the dialogue, which spells.
"""

import asyncio
import math
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from actors.actor import Actor
from actors.config import ActorConfig
from actors.engine.scripted import ScriptedEngine
from actors.outbox import DiskOutbox
from actors.rollout import Table
from actors.weight_sync import WeightSync
from common.bus.config import BusConfig
from common.bus.tcp_actor import TcpActorBus
from common.messages import Ack, FromActor, FromLearner, Heartbeat, Submit
from common.trajectory import Member
from envhub.client import HubClient
from tests.actors.spelled import END, SpelledDialogue, action

RUN = "load"
SAID = "guess 1"
BUCKETS_PER_E = 20
"""Latencies are counted in buckets of 5 %: a list of them all would be a leak of its own."""


@dataclass
class Diary:
    """What the actors of one process saw; of bounded size however long it goes on."""

    buckets: Counter[int] = field(default_factory=Counter)
    """Submit-to-ack latencies by `log(seconds) * BUCKETS_PER_E`."""
    heartbeats: int = 0
    submitted: int = 0
    repeated: int = 0
    """Submissions of what had been submitted before."""

    def __add__(self, other: "Diary") -> "Diary":
        return Diary(
            self.buckets + other.buckets,
            self.heartbeats + other.heartbeats,
            self.submitted + other.submitted,
            self.repeated + other.repeated,
        )

    def latency_s(self, share: float) -> float:
        """The latency that this share of the submissions did not exceed, to 5 %; nan without any."""
        left = share * sum(self.buckets.values())
        for bucket in sorted(self.buckets):
            left -= self.buckets[bucket]
            if left <= 0:
                return math.exp((bucket + 1) / BUCKETS_PER_E)
        return math.nan


class NotingBus(TcpActorBus):
    """Notes when a trajectory is submitted first and when it is acknowledged."""

    diary: Diary

    def __init__(self, config: BusConfig, actor: str, run: str) -> None:
        super().__init__(config, actor, run)
        self._sent: dict[Member, float] = {}

    async def send(self, message: FromActor) -> None:
        """As `ActorBus.send`."""
        if isinstance(message, Heartbeat):
            self.diary.heartbeats += 1
        if isinstance(message, Submit):
            identity = message.trajectory.identity
            self.diary.repeated += identity in self._sent
            self.diary.submitted += identity not in self._sent
            self._sent.setdefault(identity, time.monotonic())
        await super().send(message)

    async def receive(self) -> FromLearner:
        """As `ActorBus.receive`."""
        message = await super().receive()
        if isinstance(message, Ack) and (sent := self._sent.pop(message.identity, None)) is not None:
            latency_s = max(1e-6, time.monotonic() - sent)
            self.diary.buckets[math.floor(math.log(latency_s) * BUCKETS_PER_E)] += 1
        return message


@dataclass(frozen=True)
class Crew:
    """The actors of one process and where they play."""

    names: tuple[str, ...]
    sessions: int
    """Of each of them."""
    hub: str
    bus: BusConfig
    folder: Path


def play(crew: Crew) -> Diary:
    """Play until the learner says stop; the main function of a process."""
    return asyncio.run(_play(crew))


async def _play(crew: Crew) -> Diary:
    diary = Diary()
    async with (
        HubClient(crew.hub, deadline_s=120, calls_per_s=100_000, max_retries=3) as hub,
        asyncio.TaskGroup() as actors,
    ):
        for name in crew.names:
            actors.create_task(_act(crew, name, hub, diary))
    return diary


async def _act(crew: Crew, name: str, hub: HubClient, diary: Diary) -> None:
    bus = NotingBus(crew.bus, name, RUN)
    bus.diary = diary
    engine = ScriptedEngine(lambda _: action(SAID), end_token_ids=(END,))
    engine.prompts, engine.loaded = _Forgetful(), _Forgetful()
    await engine.start()
    table = Table(name, hub, engine, SpelledDialogue, "plain", episode_s=600)
    sync = WeightSync(bus, engine, crew.folder / name)
    outbox = DiskOutbox(crew.folder / "outbox" / name, RUN)
    config = ActorConfig(max_sessions=crew.sessions)
    try:
        await Actor(config, crew.bus, bus=bus, table=table, sync=sync, outbox=outbox).run()
    finally:
        await bus.close()


class _Forgetful(list):  # type: ignore[type-arg]
    """The scripted engine remembers every prompt and version, which is not what is measured."""

    def append(self, _: object) -> None:
        """Keep nothing."""
