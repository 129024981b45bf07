"""Weight sync: the newest announced policy goes into the running engine, with requests in flight.

Consumes announcements, produces versions in the engine. Waits for the next announcement; whoever waits for
a version is woken by `reached`. Announcements that were overtaken while one was being loaded are skipped.
"""

import asyncio
import logging
import time
from contextlib import suppress
from pathlib import Path

from actors.engine.engine import Engine
from common.bus.bus import ActorBus
from common.errors import WeightError
from common.messages import TensorEntry, WeightManifest
from common.weights.locate import locate
from common.weights.relayed import Relayed

log = logging.getLogger(__name__)

RETRY_S = 2.0
"""Pause before weights that could not be loaded are tried again."""


class WeightSync:
    """Keeps one engine at the newest version; a version advances only after the engine has loaded it."""

    def __init__(
        self, bus: ActorBus, engine: Engine, directory: Path, relayed: Relayed | None = None
    ) -> None:
        self.last_seconds = 0.0
        """Announcement received to engine resumed, of the last update."""
        self.last_first_token_s = 0.0
        """End of the optimizer step to an engine that samples with it, by both hosts' wall clocks."""
        self.num_failed = 0
        self._bus = bus
        self._engine = engine
        self._directory = directory
        self._relayed = relayed
        self._loaded: tuple[int, tuple[TensorEntry, ...]] | None = None
        self._advanced = asyncio.Condition()

    async def follow(self) -> None:
        """Endless: load every newest announcement; a failed load keeps the old version and is tried again."""
        while True:
            announcement = await self._bus.next_policy()
            manifest = announcement.manifest
            # Not by the version alone: a learner that resumed makes the same version anew, of other weights.
            if manifest is not None and (manifest.version, manifest.tensors) != self._loaded:
                while not await self._load(manifest, announcement.published_at):
                    # Once more, unless a newer version is announced meanwhile: then that one.
                    with suppress(TimeoutError):
                        async with asyncio.timeout(RETRY_S):
                            announcement = await self._bus.next_policy()
                            manifest = announcement.manifest or manifest

    async def _load(self, manifest: WeightManifest, published_at: float) -> bool:
        """Whether the engine now samples with these weights."""
        began = time.monotonic()
        try:
            path = await locate(manifest, self._bus, self._directory, self._relayed)
            await self._engine.load_weights(manifest, path)
        except WeightError as error:
            self.num_failed += 1
            log.warning(
                "kept version=%d refused=%d reason=%s", self._engine.policy_version, manifest.version, error
            )
            return False
        self.last_seconds = time.monotonic() - began
        self.last_first_token_s = time.time() - published_at
        self._loaded = (manifest.version, manifest.tensors)
        log.info("loaded version=%d seconds=%.3f", manifest.version, self.last_seconds)
        async with self._advanced:
            self._advanced.notify_all()
        return True

    async def reached(self, version: int) -> None:
        """Wait until the engine samples with `version` or a newer one."""
        async with self._advanced:
            await self._advanced.wait_for(lambda: self._engine.policy_version >= version)
