"""An actor whose engine is always busy, and what it notes about the weight updates that reach it.

31 sessions play group after group of invented episodes and a probe asks for single tokens, until the learner
says stop. All that an actor does for an update is real: TCP bus, weight sync, vLLM.
"""

import asyncio
import itertools
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from actors.config import ActorRoleConfig
from actors.engine.vllm_engine import VllmEngine
from actors.weight_sync import WeightSync
from common.aio import background
from common.arrays import Int32
from common.bus.config import BusConfig
from common.bus.tcp_actor import TcpActorBus
from common.config import load
from common.messages import PolicyAnnouncement, Sampling, Stop, WeightManifest

ACTOR = "actor"
NUM_SESSIONS = 31
GROUP_SIZE = 8
STAGES = ("write", "hear", "verify", "load", "first_token")
"""Of one update, in order."""


@dataclass(frozen=True)
class Episodes:
    """The mean lengths of episodes, in tokens, and the configuration that plays them."""

    config: Path
    first: int
    action: int
    between: int
    num_turns: int


@dataclass
class Diary:
    """What one process saw; instants of `time.monotonic`."""

    ended: dict[str, dict[int, float]] = field(default_factory=lambda: {stage: {} for stage in STAGES})
    """When a stage of the update to a version had ended."""
    paused_s: dict[int, float] = field(default_factory=dict)
    actions: list[tuple[float, float, int]] = field(default_factory=list)
    """Began, ended, tokens."""

    def note(self, stage: str, version: int) -> None:
        """It has ended now, unless it had ended before."""
        self.ended[stage].setdefault(version, time.monotonic())

    def tokens(self, begin: float, end: float) -> float:
        """Tokens sampled from `begin` to `end`; an action's are spread evenly over its duration."""
        return sum(
            num * max(0.0, min(ended, end) - max(began, begin)) / (ended - began)
            for began, ended, num in self.actions
        )


class NotingActorBus(TcpActorBus):
    """Notes when an announcement comes out."""

    diary: Diary

    async def next_policy(self) -> PolicyAnnouncement:
        """As `ActorBus.next_policy`."""
        announcement = await super().next_policy()
        self.diary.note("hear", announcement.version)
        return announcement


class NotingEngine(VllmEngine):
    """Notes when it is asked to load, when it has loaded, and how long generation stood still."""

    diary: Diary

    async def load_weights(self, manifest: WeightManifest, path: Path) -> None:
        """As `Engine.load_weights`."""
        self.diary.note("verify", manifest.version)
        before = self.load().paused_s
        await super().load_weights(manifest, path)
        self.diary.note("load", manifest.version)
        self.diary.paused_s[manifest.version] = self.load().paused_s - before


@dataclass
class Players:
    """The load of the engine: sessions that take one invented episode after the other, and the probe."""

    episodes: Episodes
    engine: NotingEngine
    leases: "itertools.count[int]" = field(default_factory=itertools.count)
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))

    async def play(self) -> None:
        """Endless: the members of a group share their first prompt; lengths vary around the mean."""
        for lease in self.leases:
            context = words(np.random.default_rng(lease // GROUP_SIZE), self.episodes.first)
            for _ in range(self._about(self.episodes.num_turns)):
                action = await self._generate(context, self._about(self.episodes.action))
                context = np.concatenate([context, action, words(self.rng, self.episodes.between)])

    async def probe(self) -> None:
        """Endless: one token, to see which version samples it."""
        while True:
            await self._generate(words(self.rng, 8), 1)

    async def _generate(self, context: Int32, max_tokens: int) -> Int32:
        began = time.monotonic()
        generation = await self.engine.generate(context, max_tokens=max_tokens, sampling=Sampling())
        self.engine.diary.note("first_token", generation.versions[-1].version)
        self.engine.diary.actions.append((began, time.monotonic(), len(generation.tokens)))
        return generation.tokens

    def _about(self, mean: int) -> int:
        return int(self.rng.integers(mean - mean // 2, mean + mean // 2, endpoint=True))


def words(rng: np.random.Generator, num: int) -> Int32:
    """Token ids that both vocabularies have."""
    return rng.integers(20, 120, num).astype(np.int32)


def act(episodes: Episodes, model: Path, config: BusConfig) -> Diary:
    """Generate until the learner says stop; the actor's process."""
    return asyncio.run(_act(episodes, model, config))


async def _act(episodes: Episodes, model: Path, config: BusConfig) -> Diary:
    bus = NotingActorBus(config, ACTOR)
    engine = NotingEngine(model, load(ActorRoleConfig, [episodes.config]).actor.engine)
    bus.diary = engine.diary = Diary()
    players, sync = Players(episodes, engine), WeightSync(bus, engine, Path(tempfile.gettempdir()))
    try:
        await engine.start()
        await bus.start()
        sessions = (players.play() for _ in range(NUM_SESSIONS))
        async with background(sync.follow(), players.probe(), *sessions):
            while not isinstance(await bus.receive(), Stop):
                pass
    finally:
        await bus.close()
        await engine.close()
    return engine.diary
