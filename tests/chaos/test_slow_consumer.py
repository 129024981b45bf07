"""An actor that speaks and does not listen: it costs the learner no memory, and what it held is not lost."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from random import Random

import psutil
import pytest
import zmq
import zmq.asyncio

from benchmarks.parts.load_actors import RUN
from benchmarks.parts.load_learner import ConsumingLearner
from common import codec
from common.aio import background
from common.bus.config import BusConfig
from common.bus.gate import Gate
from common.bus.limits import CHUNKS_WAITING
from common.bus.tcp import TcpLearnerBus
from common.bus.tcp_actor import TcpActorBus
from common.messages import ChunkRequest, Grant, Lease, Ready, Submit
from tests.chaos.proxy import LOOPBACK, StreamProxy, Weather
from tests.common.records import make_trajectory
from tests.contracts.nets import Files

SESSIONS = 8
CONFIG = BusConfig(max_queued_messages=100, chunk_bytes=1 << 20, heartbeat_s=60)
"""Given up because it does not read, long before anybody is missed."""
BUFFER_BYTES = 1 << 13
"""Of a connection in the kernel, so that it is full soon."""
LOOPBACK_BYTES = 16 << 20
"""What the kernel may hold of one connection, at both ends."""
DEADLINE_S = 60.0

pytestmark = pytest.mark.timeout(120)


class ShortBus(TcpLearnerBus):
    """With short buffers in the kernel, so that a queue is full soon."""

    def _open_sockets(self, gate: Gate) -> None:
        super()._open_sockets(gate)
        for socket in (self._ledger, self._weights):
            socket.setsockopt(zmq.SNDBUF, BUFFER_BYTES)


@asynccontextmanager
async def opened(bus: TcpLearnerBus | TcpActorBus) -> AsyncIterator[None]:
    try:
        await bus.start()
        yield
    finally:
        await bus.close()


@asynccontextmanager
async def proxied(port: int) -> AsyncIterator[StreamProxy]:
    proxy = StreamProxy(Weather(Random(0)), buffer_bytes=BUFFER_BYTES)
    proxy.target_port = port
    server = await proxy.open()
    try:
        yield proxy
    finally:
        server.close()
        proxy.cut()


async def leases(bus: TcpActorBus, number: int) -> list[Lease]:
    found: list[Lease] = []
    while len(found) < number:
        if isinstance(message := await bus.receive(), Grant):
            found.append(message.lease)
    return found


def played(lease: Lease) -> Submit:
    known = {"identity": lease.identity, "task": lease.task, "horizon": lease.horizon}
    return Submit(trajectory=make_trajectory().model_copy(update=known))


async def test_an_actor_that_does_not_read_is_given_up_and_its_leases_are_played_by_others(
    tmp_path: Path,
) -> None:
    bus = ShortBus(CONFIG, RUN)
    async with asyncio.timeout(DEADLINE_S), AsyncExitStack() as stack:
        await stack.enter_async_context(opened(bus))
        learner = ConsumingLearner(bus, bus.config, tmp_path, sessions=SESSIONS, turns=2)
        stack.callback(learner.close)
        book, door = learner.dispatcher.book, learner.door
        proxy = await stack.enter_async_context(proxied(bus.ledger_port))
        await stack.enter_async_context(background(door.receive(), door.serve()))
        slow = TcpActorBus(bus.config.model_copy(update={"ledger_port": proxy.port}), "slow", RUN)
        await stack.enter_async_context(opened(slow))
        await slow.send(Ready(credits=SESSIONS, is_first=True))
        granted = await leases(slow, SESSIONS)
        proxy.flows.clear()
        before = psutil.Process().memory_full_info().uss
        while "slow" in book.actors:  # never reads that it was acknowledged
            await slow.send(played(granted[0]))
        assert psutil.Process().memory_full_info().uss - before < LOOPBACK_BYTES
        quick = TcpActorBus(bus.config, "quick", RUN)
        await stack.enter_async_context(opened(quick))
        await quick.send(Ready(credits=SESSIONS - 1, is_first=True))
        again = await leases(quick, SESSIONS - 1)
        assert {(x.identity.group, x.identity.member) for x in again} == {
            (x.identity.group, x.identity.member) for x in granted[1:]
        }
        for lease in again:
            await quick.send(played(lease))
        assert len((await learner.dispatcher.take_batch())[0].trajectories) == SESSIONS


async def test_one_that_asks_for_weights_and_does_not_read_them_costs_a_few_chunks(tmp_path: Path) -> None:
    (tmp_path / "held").write_bytes(bytes(CONFIG.chunk_bytes))
    files = Files()
    files.files[1] = tmp_path / "held"
    bus = ShortBus(CONFIG, RUN, files)

    def request(num_bytes: int) -> list[codec.Buffer]:
        return codec.encode(ChunkRequest(version=1, offset=0, num_bytes=num_bytes))

    context = zmq.asyncio.Context()
    try:
        async with (
            asyncio.timeout(DEADLINE_S),
            opened(bus),
            proxied(bus.weights_port) as proxy,
        ):
            slow, quick = context.socket(zmq.DEALER), context.socket(zmq.DEALER)
            slow.connect(f"tcp://{LOOPBACK}:{proxy.port}")
            quick.connect(f"tcp://{LOOPBACK}:{bus.weights_port}")
            await slow.send_multipart(request(1))
            await slow.recv_multipart()
            proxy.flows.clear()
            for _ in range(100):
                await slow.send_multipart(request(CONFIG.chunk_bytes))
                await quick.send_multipart(request(1))
                await quick.recv_multipart()
            most = CHUNKS_WAITING * CONFIG.chunks_in_flight * CONFIG.chunk_bytes + LOOPBACK_BYTES
            assert bus._chunks.served_bytes < most
    finally:
        context.destroy(linger=0)
