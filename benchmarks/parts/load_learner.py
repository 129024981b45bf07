"""A learner that consumes without training: real bus, door, dispatcher and ledger, no torch.

Each step announces a version whose weights are one number: what older ones sampled grows stale as ever.
"""

import time
from pathlib import Path

import numpy as np

from benchmarks.parts.load_actors import RUN
from common.bus.bus import LearnerBus
from common.bus.config import BusConfig
from common.bus.tcp import TcpLearnerBus
from common.messages import FromActor, Heartbeat, PolicyAnnouncement, Sampling
from common.trajectory import TaskReference
from common.weights.store import WeightStore
from envhub import registry
from learner.config import LearnerConfig, StalenessConfig
from learner.dispatcher import Dispatcher
from learner.door import Door
from learner.leases import LeaseBook
from learner.ledger import Ledger
from learner.task_order import TaskOrder

ENVIRONMENT = "guess_number"
SAMPLING = Sampling(max_action_tokens=64, max_episode_tokens=4000)
GROUP_SIZE = 8
MAX_STALENESS = 8


class CountingBus(TcpLearnerBus):
    """Counts heartbeats, and the longest time between two of one actor."""

    def __init__(self, config: BusConfig) -> None:
        super().__init__(config, RUN)
        self.heartbeats = 0
        self.longest_gap_s = 0.0
        self._heard: dict[str, float] = {}

    async def receive(self) -> tuple[str, FromActor]:
        """As `LearnerBus.receive`."""
        actor, message = await super().receive()
        if isinstance(message, Heartbeat):
            now = time.monotonic()
            self.heartbeats += 1
            self.longest_gap_s = max(self.longest_gap_s, now - self._heard.get(actor, now))
            self._heard[actor] = now
        return actor, message


class ConsumingLearner:
    """Opens groups for so many sessions and consumes what is complete, at once."""

    def __init__(
        self, bus: LearnerBus, config: BusConfig, folder: Path, *, sessions: int, turns: int
    ) -> None:
        tasks = [
            TaskReference(environment=ENVIRONMENT, task=task.name)
            for task in registry.environment(ENVIRONMENT).tasks("train")
        ]
        # Half as many more groups may be out as there are sessions: most of a group wait for its last one.
        per_step = -(-sessions * 3 // (2 * GROUP_SIZE * (MAX_STALENESS + 1)))
        learner = LearnerConfig(
            groups_per_step=per_step,
            group_size=GROUP_SIZE,
            drops_zero_variance=False,
            staleness=StalenessConfig(max_staleness=MAX_STALENESS),
        )
        self.trajectories = 0
        self._bus = bus
        self._turns = turns
        self._store = WeightStore(folder)
        self.sampling = SAMPLING
        self.ledger = Ledger(folder / "ledger.sqlite", RUN)
        self.dispatcher = Dispatcher(
            learner,
            self.ledger,
            LeaseBook(RUN, time.monotonic, ledger=self.ledger.name),
            TaskOrder(tasks, seed=0),
            SAMPLING,
            horizon=turns,
            version=0,
        )
        self.dispatcher.is_training = True
        self.door = Door(bus, self.dispatcher, config)

    async def consume(self) -> None:
        """Endless: a step is recorded as soon as its groups are complete."""
        step = 0
        while True:
            groups = await self.dispatcher.take_batch()
            step += 1
            await self.dispatcher.consumed(step, groups, max_staleness=0, num_tokens=1)
            trained = [trajectory for group in groups for trajectory in group.trajectories]
            self.dispatcher.tally.flush(trained)
            self.trajectories += len(trained)
            await self.announce(step)
            await self.door.grant()

    async def announce(self, version: int) -> None:
        """Tell the actors of a version; 0 is the one that they begin with."""
        manifest = None
        if version:
            manifest = self._store.write(
                version, [("step", "float32", np.array([version], np.float32), (1,))]
            )
        await self._bus.announce(
            PolicyAnnouncement(
                version=version,
                horizon=self._turns,
                sampling=self.sampling,
                manifest=manifest,
                published_at=time.time(),
            )
        )

    def queues(self) -> dict[str, int]:
        """How much waits where."""
        heartbeats = self.door.heartbeats.values()
        return {
            "inbox": self.door._inbox.qsize(),
            "complete groups": self.dispatcher.queue,
            "pending leases": self.dispatcher.book.num_pending,
            "leases out": self.dispatcher.book.num_out,
            "sessions": sum(h.num_sessions for h in heartbeats),
            "unacknowledged": sum(h.unacknowledged for h in heartbeats),
        }

    def close(self) -> None:
        """Close the ledger, free the memory of the weights."""
        self.dispatcher.close()
        self.ledger.close()
        self._store.close()
