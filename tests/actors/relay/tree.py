"""A learner that only publishes, and relays below it, each with a host memory of its own."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np

from actors.relay.config import RelayRoleConfig
from actors.relay.service import Service, serve
from common.bus.config import BusConfig
from common.bus.tcp import TcpLearnerBus
from common.messages import PolicyAnnouncement, Sampling, WeightManifest
from common.run_config import RunSection
from common.weights.config import RelayConfig
from common.weights.source import WeightSource
from common.weights.store import WeightStore, file_name

CHUNK_BYTES = 64 << 10
SIZE = 100_000
BUS = BusConfig(connect_s=20.0, heartbeat_s=0.5, chunk_bytes=CHUNK_BYTES, chunks_in_flight=2)


async def until(is_so: Callable[[], bool]) -> None:
    """Wait for what another task or process does."""
    async with asyncio.timeout(60):
        while not is_so():  # noqa: ASYNC110 - a file of another process tells nobody that it has come
            await asyncio.sleep(0.005)


class Publishing:
    """A learner's store and bus; each version moves a hundredth of its weights to their neighbours."""

    def __init__(self, bus: TcpLearnerBus, store: WeightStore) -> None:
        self.bus = bus
        self.store = store
        self.weights = np.random.default_rng(0).integers(0, 1 << 16, SIZE).astype(np.uint16)

    def write(self, version: int) -> WeightManifest:
        chosen = np.random.default_rng(version).choice(SIZE, SIZE // 100, replace=False)
        self.weights[chosen] += 1
        return self.store.write(version, [("w", "bfloat16", self.weights, (SIZE,))])

    async def announce(self, manifest: WeightManifest) -> WeightManifest:
        await self.bus.announce(
            PolicyAnnouncement(version=manifest.version, horizon=3, sampling=Sampling(), manifest=manifest)
        )
        return manifest

    async def publish(self, version: int) -> WeightManifest:
        return await self.announce(self.write(version))


@asynccontextmanager
async def publishing(
    folder: Path, *, config: BusConfig = BUS, served: Callable[[WeightStore], WeightSource] | None = None
) -> AsyncIterator[Publishing]:
    """`served` may put something between the store and those who fetch."""
    root = folder / "memory of the learner"
    root.mkdir(exist_ok=True)
    with WeightStore(folder / "run", root=root) as store:
        bus = TcpLearnerBus(config, "run", served(store) if served else store)
        await bus.start()
        try:
            yield Publishing(bus, store)
        finally:
            await bus.close()


def role(folder: Path, bus: BusConfig, **relay: object) -> RelayRoleConfig:
    settings = {"patience_s": 10, "retry_s": 0.1} | relay
    return RelayRoleConfig(
        run=RunSection(directory=str(folder)), bus=bus, relay=RelayConfig.model_validate(settings)
    )


@asynccontextmanager
async def relaying(
    folder: Path, learner: BusConfig, name: str, parent: Service | str = "", **relay: object
) -> AsyncIterator[Service]:
    """A relay in a host memory named after it."""
    root = folder / f"memory of {name}"
    root.mkdir(exist_ok=True)
    address = f"{parent.name}@127.0.0.1:{parent.port}" if isinstance(parent, Service) else parent
    async with serve(role(folder, learner, parent=address, **relay), name, root) as service:
        yield service


def file_of(folder: Path, name: str, version: int) -> Path:
    """Where the relay `name` has a version, or would have it."""
    found = list((folder / f"memory of {name}").glob(f"*/{file_name(version)}"))
    return found[0] if found else folder / "none"


def holds(folder: Path, name: str, manifest: WeightManifest) -> bool:
    file = file_of(folder, name, manifest.version)
    return file.exists() and file.read_bytes() == Path(manifest.path).read_bytes()
