"""Forced staleness: every token of a step's batch is exactly as old as the configuration allows."""

import asyncio
from collections.abc import Sequence
from typing import Any

from common.trajectory import Group, Trajectory
from learner.config import LearnerConfig
from learner.dispatcher import Dispatcher, Outgoing
from learner.staleness import max_outstanding


class FullQueueDispatcher(Dispatcher):
    """Gives a step its batch only when as many groups wait as may be outstanding, all of them complete.

    With `max_staleness` = s there are s + 1 batches, each sampled by one version. The oldest is trained on,
    then one more is sampled by the new version. So step v + 1 trains on tokens of version v - s, and in the
    first s steps on tokens of version 0. `staleness.mode` must be `wait`: otherwise an episode could begin
    before the engine has loaded the newest version. Nothing else differs: the versions are those that
    sampled the tokens, and held-out tasks are played by the newest.
    """

    def __init__(self, config: LearnerConfig, *parts: Any, **options: Any) -> None:
        if config.staleness.mode != "wait":
            raise ValueError(f"staleness.mode = {config.staleness.mode!r}: allowed is 'wait'")
        super().__init__(config, *parts, **options)
        self._full = max_outstanding(config.staleness, config.groups_per_step)
        self._arrived = asyncio.Event()

    async def submit(self, submissions: Sequence[tuple[str, Trajectory]]) -> Outgoing:
        """As `Dispatcher.submit`; wakes whoever waits for a full queue."""
        replies = await super().submit(submissions)
        self._arrived.set()
        return replies

    def stop(self) -> None:
        """As `Dispatcher.stop`."""
        super().stop()
        self._arrived.set()

    async def take_batch(self) -> list[Group]:
        """The oldest `groups_per_step` groups of a full queue. Empty when asked to stop."""
        while self.queue < self._full and not self.is_stopping:
            self._arrived.clear()
            await self._arrived.wait()
        return await super().take_batch()
