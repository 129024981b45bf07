"""The two kinds of bus behind one face, for tests that hold for both."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import zmq
import zmq.asyncio

from common.bus.bus import ActorBus, LearnerBus
from common.bus.config import BusConfig
from common.bus.memory import MemoryActorBus, MemoryLearnerBus, MemoryWire
from common.bus.tcp import TcpLearnerBus
from common.bus.tcp_actor import TcpActorBus
from common.messages import ChunkRequest, Hello, TensorEntry, WeightManifest, Welcome

CONFIG = BusConfig(connect_s=5.0, max_message_bytes=1 << 20)


def manifest_of(version: int, num_bytes: int) -> WeightManifest:
    """Of a file elsewhere of that size, of which nothing else is known."""
    tensor = TensorEntry(
        name="w", shape=(num_bytes,), dtype="float32", offset=0, num_bytes=num_bytes, checksum=0
    )
    return WeightManifest(version=version, tensors=(tensor,), num_bytes=num_bytes, host="elsewhere", path="")


class Files:
    """A `WeightSource` of files that a test puts there."""

    def __init__(self) -> None:
        self.files: dict[int, Path] = {}

    def find(self, request: ChunkRequest) -> Path | None:
        return self.files.get(request.version) if request.base is None else None


class MemoryNet:
    """Learners and actors on one memory wire."""

    def __init__(self, config: BusConfig = CONFIG) -> None:
        self.config = config
        self.weights = Files()
        self.wire = MemoryWire(config)

    def learner(self, run: str = "r") -> LearnerBus:
        return MemoryLearnerBus(self.config, run, self.weights, wire=self.wire)

    def actor(self, name: str, run: str = "") -> ActorBus:
        return MemoryActorBus(self.config, name, run, wire=self.wire)

    async def send_garbage(self, frames: list[bytes]) -> None:
        await self.wire.inbox.put((b"stranger", frames))


class TcpNet:
    """Learners and actors on three TCP ports; a restarted learner gets the ports of the one before."""

    def __init__(self, config: BusConfig = CONFIG) -> None:
        self.config = config
        self.weights = Files()

    def learner(self, run: str = "r") -> LearnerBus:
        return TcpLearnerBus(self.config, run, self.weights)

    def actor(self, name: str, run: str = "") -> ActorBus:
        return TcpActorBus(self.config, name, run)

    async def send_garbage(self, frames: list[bytes]) -> None:
        with zmq.asyncio.Context() as context, context.socket(zmq.DEALER) as socket:
            socket.connect(f"tcp://{self.config.host}:{self.config.ledger_port}")
            await socket.send_multipart(frames)


NETS: list[Callable[..., Any]] = [MemoryNet, TcpNet]


@asynccontextmanager
async def joined(net: Any, *names: str) -> AsyncIterator[Any]:
    """A started learner and actors that it has welcomed."""
    async with AsyncExitStack() as stack:
        learner = net.learner()
        await learner.start()
        stack.push_async_callback(learner.close)
        net.config = learner.config
        actors = []
        for name in names:
            actor = net.actor(name)
            stack.push_async_callback(actor.close)
            await join(learner, actor)
            actors.append(actor)
        yield learner, *actors


async def join(learner: LearnerBus, actor: ActorBus) -> Welcome:
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        start = group.create_task(actor.start())
        hello = group.create_task(learner.receive())
    assert isinstance(hello.result()[1], Hello)
    return start.result()
