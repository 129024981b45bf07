"""The relay: every newest version into its host's memory, and on to other relays.

    policy channel ---> Relay.follow ---> WeightStore ---> actors of this host map its files
                           |    ^             |
              ChunkRequest v    | Chunk       v Chunk
                  its parent, or the learner  other relays, which ask here

Consumes announcements; waits for the next one while it brings the last, and gives that up when a newer one
comes. Nothing gets into the store that is not verified, so nothing else is ever served.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

from actors.relay.status import RelayStatus
from common.aio import in_thread
from common.bus.chunks import ChunkFetch, Peer, request_of
from common.bus.config import BusConfig
from common.errors import SilenceError, WeightError
from common.messages import ChunkRequest, NotYet, PolicyAnnouncement, WeightManifest
from common.weights.config import RelayConfig
from common.weights.delta import apply_delta
from common.weights.manifest import digest_of, file_bytes
from common.weights.store import WeightStore
from common.weights.verify import verify

log = logging.getLogger(__name__)

RETRY_S = 2.0
"""Pause before a version that nobody could give is tried again."""


class Relay:
    """Keeps `store` at the newest version; a `WeightSource` for other relays meanwhile."""

    def __init__(
        self,
        config: RelayConfig,
        bus: BusConfig,
        store: WeightStore,
        next_policy: Callable[[], Awaitable[PolicyAnnouncement]],
    ) -> None:
        self.status = RelayStatus()
        self.changed = asyncio.Event()
        """Set whenever a version has come, or has not."""
        self._bus = bus
        self._store = store
        self._next_policy = next_policy
        self._learner = Peer.learner(bus)
        self._parent: Peer | None = None
        if config.parent_address is not None:
            name, host, port = config.parent_address
            self._parent = Peer(name, host, port, config.patience_s)
        self._retry_s = config.retry_s
        self._parent_after = 0.0
        self._coming = -1
        self._progress = 0

    async def follow(self) -> None:
        """Endless: bring every newest version; one that was overtaken is given up."""
        manifest = await self._next_weights(None)
        while True:
            async with asyncio.TaskGroup() as group:
                bringing = group.create_task(self._keep_bringing(manifest))
                newer = await self._next_weights(manifest)
                if bringing.cancel():
                    self.status.overtaken += 1
                    log.info("gave up version=%d newer=%d", manifest.version, newer.version)
            manifest = newer

    async def _next_weights(self, last: WeightManifest | None) -> WeightManifest:
        """The manifest of the newest announcement that tells of other weights than `last`."""
        while True:
            manifest = (await self._next_policy()).manifest
            if manifest is not None and (
                last is None or (manifest.version, digest_of(manifest)) != (last.version, digest_of(last))
            ):
                return manifest

    async def _keep_bringing(self, manifest: WeightManifest) -> None:
        began, self._coming = time.monotonic(), manifest.version
        while not isinstance(self._store.find(request_of(manifest)), Path):
            try:
                source = await self._bring(manifest)
            except WeightError as error:
                self.status.failed += 1
                self.changed.set()
                log.warning("brought nothing version=%d reason=%s", manifest.version, error)
                await asyncio.sleep(RETRY_S)
            else:
                self.status.version, self.status.source = manifest.version, source
                self.status.seconds = time.monotonic() - began
                self.changed.set()
                log.info(
                    "brought version=%d from=%s seconds=%.3f deltas=%d fulls=%d received_bytes=%d",
                    manifest.version,
                    source,
                    self.status.seconds,
                    self.status.deltas,
                    self.status.fulls,
                    self.status.received_bytes,
                )

    async def _bring(self, manifest: WeightManifest) -> str:
        """Where the version came from: the parent, or the learner when there is none or it failed."""
        if self._parent is not None and time.monotonic() >= self._parent_after:
            try:
                await self._bring_from(self._parent, manifest)
                return str(self._parent)
            except WeightError as error:
                self.status.fallbacks += 1
                self._parent_after = time.monotonic() + self._retry_s
                log.warning("asked the learner instead of=%s reason=%s", self._parent, error)
        await self._bring_from(self._learner, manifest)
        return str(self._learner)

    async def _bring_from(self, peer: Peer, manifest: WeightManifest) -> None:
        for base in self._store.bases(manifest)[:1]:
            if await self._by_delta(peer, manifest, base):
                self.status.deltas += 1
                return
        part = self._store.new_part()
        try:
            await self._fetch(peer, manifest, None, part)
            await in_thread(partial(verify, manifest, part))
            self._store.adopt(manifest, part)
            self.status.fulls += 1
        finally:
            part.unlink(missing_ok=True)

    async def _by_delta(self, peer: Peer, manifest: WeightManifest, base: WeightManifest) -> bool:
        """Whether it worked; SilenceError when the peer does not answer: nobody waits for it twice."""
        delta, part = self._store.new_part(), self._store.new_part()
        try:
            try:
                await self._fetch(peer, manifest, base, delta)
            except SilenceError:
                raise
            except WeightError as error:
                self.status.deltas_refused += 1
                log.info("got no delta version=%d from=%s reason=%s", manifest.version, peer, error)
                return False
            try:
                await in_thread(partial(apply_delta, base, Path(base.path), manifest, delta, part))
            except WeightError as error:
                self.status.deltas_failed += 1
                log.warning("refused a delta version=%d from=%s reason=%s", manifest.version, peer, error)
                return False
            self._store.adopt(manifest, part, base, delta)
            return True
        finally:
            delta.unlink(missing_ok=True)
            part.unlink(missing_ok=True)

    async def _fetch(
        self, peer: Peer, manifest: WeightManifest, base: WeightManifest | None, into: Path
    ) -> None:
        wanted, at_most = request_of(manifest, base), file_bytes(manifest)
        await ChunkFetch(wanted, self._bus, peer, self._received, at_most).run(into)

    def _received(self, num_bytes: int) -> None:
        self.status.received_bytes += num_bytes
        self._progress += 1

    def find(self, request: ChunkRequest) -> Path | NotYet | None:
        """As `WeightSource.find`; what this relay has not heard of yet is taken to be on its way."""
        found = self._store.find(request)
        is_held = self._store.find(request.model_copy(update={"base": None})) is not None
        if found is not None or is_held or request.version < self._coming:
            return found
        return NotYet(version=request.version, progress=self._progress)
