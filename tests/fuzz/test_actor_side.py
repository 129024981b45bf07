"""A learner that has been taken over: the actor's bus refuses what it sends, or returns a valid message."""

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import zmq
import zmq.asyncio
from hypothesis import HealthCheck, given, settings

from common import codec
from common.aio import background
from common.bus.config import BusConfig
from common.bus.tcp import ANNOUNCEMENT
from common.bus.tcp_actor import TcpActorBus
from common.errors import WeightError
from common.messages import (
    Ack,
    Cancel,
    Chunk,
    FromActor,
    Grant,
    Hello,
    Lease,
    NotYet,
    PolicyAnnouncement,
    Refusal,
    Sampling,
    Stop,
    Welcome,
)
from common.trajectory import Member, Record, TaskReference
from tests.contracts.nets import manifest_of
from tests.fuzz.mutations import frames_like
from tests.fuzz.town import resident_mb

FUZZ = settings(
    max_examples=int(os.environ.get("PRONGHORN_FUZZ_EXAMPLES", "60")),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
MEMBER = Member(run="town", group=1, member=0, attempt=0)
TOLD = (
    Welcome(run="town", heartbeat_s=1.0),
    Grant(
        lease=Lease(
            identity=MEMBER, task=TaskReference(environment="e", task="t"), horizon=3, sampling=Sampling()
        )
    ),
    Ack(identity=MEMBER),
    Cancel(identity=MEMBER),
    Refusal(reason="no"),
    Stop(reason="over"),
)
MANIFEST = manifest_of(1, 5000)
ANNOUNCED = (PolicyAnnouncement(version=1, horizon=1, sampling=Sampling(), manifest=MANIFEST),)
SENT = (
    Chunk(version=1, offset=0, file_bytes=3000, payload=bytes(1000)),
    Chunk(version=1, offset=0, file_bytes=10, payload=bytes(10)),
    Chunk(version=1, offset=0, file_bytes=1 << 60, payload=bytes(1024)),
    NotYet(version=1, progress=3),
    Refusal(reason="no"),
)
LAST = Ack(identity=MEMBER.model_copy(update={"group": 77}))
MAX_GROWTH_MB = 80


class HostileLearner:
    """Three sockets that welcome an actor and then say what they are told to."""

    def __init__(self, context: zmq.asyncio.Context) -> None:
        self.ledger = context.socket(zmq.ROUTER)
        self.policy = context.socket(zmq.XPUB)
        self.weights = context.socket(zmq.ROUTER)
        ports = [
            socket.bind_to_random_port("tcp://127.0.0.1")
            for socket in (self.ledger, self.policy, self.weights)
        ]
        self.config = BusConfig(
            ledger_port=ports[0],
            policy_port=ports[1],
            weights_port=ports[2],
            connect_s=0.5,
            max_message_bytes=1 << 20,
            chunk_bytes=1 << 10,
        )
        self.answer: list[bytes] = []
        """What is said to whoever asks for a chunk."""
        self.identity = b""

    async def welcome(self) -> None:
        """Answer every Hello, for ever."""
        while True:
            self.identity, *frames = await self.ledger.recv_multipart()
            if isinstance(codec.decode(frames, FromActor), Hello):
                await self.tell([bytes(part) for part in codec.encode(TOLD[0])])

    async def tell(self, frames: list[bytes]) -> None:
        await self.ledger.send_multipart([self.identity, *frames])

    async def serve(self) -> None:
        """Answer every request for a chunk, for ever."""
        while True:
            identity, *_ = await self.weights.recv_multipart()
            await self.weights.send_multipart([identity, *self.answer])


def examples(messages: Sequence[Record]) -> list[list[bytes]]:
    """As many as one test has."""
    found: list[list[bytes]] = []

    @FUZZ
    @given(frames=frames_like(messages))
    def collect(frames: list[bytes]) -> None:
        found.append(frames)

    collect()
    return found


@asynccontextmanager
async def met() -> AsyncIterator[tuple[HostileLearner, TcpActorBus]]:
    """A hostile learner, and an actor that it has welcomed."""
    context = zmq.asyncio.Context()
    learner = HostileLearner(context)
    try:
        async with background(learner.welcome(), learner.serve()):
            actor = TcpActorBus(learner.config, "honest")
            await actor.start()
            try:
                yield learner, actor
            finally:
                await actor.close()
    finally:
        context.destroy(linger=0)


async def test_what_a_hostile_learner_tells_is_valid_or_refused() -> None:
    before = resident_mb()
    async with met() as (learner, actor):
        for frames in examples(TOLD):
            await learner.tell(frames)
            await learner.tell([bytes(part) for part in codec.encode(LAST)])
            async with asyncio.timeout(20):
                while await actor.receive() != LAST:
                    pass
        assert actor.refused > 0
    assert resident_mb() - before < MAX_GROWTH_MB


async def test_what_a_hostile_learner_announces_is_valid_or_refused() -> None:
    before = resident_mb()
    async with met() as (learner, actor):
        for _ in range(2):  # both topics are subscribed to
            assert (await learner.policy.recv()).startswith(b"\x01")
        for number, frames in enumerate(examples(ANNOUNCED), start=1000):
            last = PolicyAnnouncement(version=number, horizon=1, sampling=Sampling())
            await learner.policy.send_multipart([ANNOUNCEMENT, *frames])
            await learner.policy.send_multipart([ANNOUNCEMENT, *codec.encode(last)])
            async with asyncio.timeout(20):
                while await actor.next_policy() != last:
                    pass
        assert actor.refused > 0
    assert resident_mb() - before < MAX_GROWTH_MB


async def test_weights_of_a_hostile_learner_are_whole_or_an_error(tmp_path: Path) -> None:
    before, num_failed = resident_mb(), 0
    async with met() as (learner, actor):
        for number, frames in enumerate(examples(SENT)):
            learner.answer = frames
            into = tmp_path / str(number)
            try:
                async with asyncio.timeout(20):
                    await actor.fetch_weights(MANIFEST, into)
            except WeightError:
                num_failed += 1
            else:
                assert into.stat().st_size == 10
    assert num_failed > 0
    assert resident_mb() - before < MAX_GROWTH_MB
