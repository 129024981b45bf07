"""The publisher: after a step, the new weights go into host shared memory once and every actor hears of them."""

import logging
import time

from common.weights.store import WeightStore

from common.bus.bus import LearnerBus
from common.messages import PolicyAnnouncement, Sampling
from learner.ranks import TrainerThread

log = logging.getLogger(__name__)


class Publisher:
    """Announces policy versions; the newest wins, and a late joiner hears the newest at once."""

    def __init__(
        self, bus: LearnerBus, store: WeightStore, trainer: TrainerThread, sampling: Sampling
    ) -> None:
        self._bus = bus
        self._store = store
        self._trainer = trainer
        self._sampling = sampling

    async def publish(self, version: int, horizon: int, *, finished_at: float) -> float:
        """Gather the parameters of all ranks, write them, announce them; returns the seconds it took.

        `finished_at` is when the optimizer step ended (seconds since the epoch); actors measure from there.
        """
        began = time.monotonic()
        manifest = await self._trainer.write_weights(self._store, version)
        announcement = PolicyAnnouncement(
            version=version,
            horizon=horizon,
            sampling=self._sampling,
            manifest=manifest,
            published_at=finished_at,
        )
        await self._bus.announce(announcement)
        seconds = time.monotonic() - began
        log.info("published version=%d bytes=%d seconds=%.3f", version, manifest.num_bytes, seconds)
        return seconds
