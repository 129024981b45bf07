"""The publisher: after a step, new weights go into host shared memory once and every actor hears of it.

Of a policy with adapters only these go, with what an engine needs to see that they do what they do here.
"""

import logging
import time
from collections.abc import Iterator

from torch import Tensor, uint8

from common.bus.bus import LearnerBus
from common.messages import PolicyAnnouncement, Sampling, WeightManifest
from common.weights.store import WeightStore
from common.weights.writing import NamedArray
from learner.probe import probed_adapter
from learner.ranks import TrainerThread

log = logging.getLogger(__name__)


class Publisher:
    """Announces policy versions; the newest wins, and a late joiner hears the newest at once."""

    def __init__(
        self, bus: LearnerBus, store: WeightStore, trainer: TrainerThread, sampling: Sampling, dtype: str
    ) -> None:
        self._bus = bus
        self._store = store
        self._trainer = trainer
        self._sampling = sampling
        self._dtype = dtype

    async def publish(self, version: int, horizon: int, *, finished_at: float) -> float:
        """Gather what actors load from all ranks, write it, announce it; returns the seconds it took.

        `finished_at` is when the optimizer step ended (seconds since the epoch); actors measure from there.
        """
        began = time.monotonic()

        def write(weights: Iterator[tuple[str, Tensor]]) -> WeightManifest:
            return self._store.write(version, (as_named_array(name, tensor) for name, tensor in weights))

        manifest = await self._trainer.gather(self._dtype, write)
        adapter = await self._trainer.run(probed_adapter)
        if adapter is not None:
            manifest = manifest.model_copy(update={"adapter": adapter})
        await self._bus.announce(
            PolicyAnnouncement(
                version=version,
                horizon=horizon,
                sampling=self._sampling,
                manifest=manifest,
                published_at=finished_at,
            )
        )
        seconds = time.monotonic() - began
        log.info("published version=%d bytes=%d seconds=%.3f", version, manifest.num_bytes, seconds)
        return seconds


def as_named_array(name: str, tensor: Tensor) -> NamedArray:
    """The tensor's memory as it is; NumPy has no bfloat16, bytes do."""
    flat = tensor.contiguous().view(-1).view(uint8).numpy()
    return name, str(tensor.dtype).removeprefix("torch."), flat, tuple(tensor.shape)
