"""The learner's end of the bus over TCP: three ZeroMQ sockets, bounded, each with its own port.

    ledger    ROUTER   read by `receive`, which is the caller's loop
    policy    XPUB     read by `_greet_subscribers`: each new subscription is answered with the newest policy
    weights   ROUTER   read by `ChunkServer.serve`
    all       Gate     who may connect, and how much each may send

The last three run in the background between `start` and `close` and wait only for their sockets. When one of
them fails, the task that called `start` is cancelled and `close` raises the reason.
"""

import asyncio
from contextlib import AsyncExitStack

import zmq
import zmq.asyncio

from common import codec
from common.aio import background
from common.bus.chunks import ChunkServer
from common.bus.config import BusConfig
from common.bus.gate import Gate
from common.bus.limits import ledger_limits, policy_limits, weights_limits
from common.bus.membership import Membership
from common.bus.sizes import check_size
from common.messages import FromActor, FromLearner, PolicyAnnouncement, Welcome
from common.weights.source import WeightSource

ANNOUNCEMENT = b"policy"
"""Topic of what is announced to everyone."""
SNAPSHOT = b"snapshot/"
"""Prefix of the topic that only one actor subscribes to; on it, it gets what was announced before it came."""


class TcpLearnerBus:
    """`LearnerBus` over TCP; serves the files of `weights` on its third port."""

    def __init__(self, config: BusConfig, run: str, weights: WeightSource | None = None) -> None:
        self.config = config
        self._members = Membership(Welcome(run=run, heartbeat_s=config.heartbeat_s))
        self._chunks = ChunkServer(weights, config)
        self._newest: list[codec.Buffer] = []
        self._gate: Gate | None = None
        self._stack = AsyncExitStack()

    @property
    def refused(self) -> int:
        """As `LearnerBus.refused`."""
        return self._members.refused + self._chunks.refused + (self._gate.refused if self._gate else 0)

    @property
    def ledger_port(self) -> int:
        """The bound port of the ledger channel."""
        return self.config.ledger_port

    @property
    def policy_port(self) -> int:
        """The bound port of the policy channel."""
        return self.config.policy_port

    @property
    def weights_port(self) -> int:
        """The bound port of the weights channel."""
        return self.config.weights_port

    async def start(self) -> None:
        """As `LearnerBus.start`; all three ports or none."""
        async with AsyncExitStack() as stack:
            context = zmq.asyncio.Context()
            stack.push_async_callback(asyncio.to_thread, context.term)
            self._gate = gate = Gate(context, self.config)
            stack.callback(gate.close)
            self._open_sockets(gate)
            ports = {
                field: await gate.bind(socket, getattr(self.config, field), name=f"bus.{field}")
                for field, socket in (
                    ("ledger_port", self._ledger),
                    ("policy_port", self._policy),
                    ("weights_port", self._weights),
                )
            }
            self.config = self.config.model_copy(update=ports)
            loops = background(gate.run(), self._greet_subscribers(), self._chunks.serve(self._weights))
            await stack.enter_async_context(loops)
            self._stack = stack.pop_all()

    def _open_sockets(self, gate: Gate) -> None:
        config = self.config
        self._ledger = gate.socket(zmq.ROUTER, "ledger", ledger_limits(config))
        self._policy = gate.socket(zmq.XPUB, "policy", policy_limits(config))
        self._weights = gate.socket(zmq.ROUTER, "weights", weights_limits(config))
        for router in (self._ledger, self._weights):
            router.setsockopt(zmq.ROUTER_MANDATORY, 1)
            # An actor that reconnects before its old connection is known to be dead keeps its identity.
            router.setsockopt(zmq.ROUTER_HANDOVER, 1)
        self._policy.setsockopt(zmq.XPUB_VERBOSE, 1)

    async def receive(self) -> tuple[str, FromActor]:
        """As `LearnerBus.receive`."""
        while True:
            (identity, *frames), host = await self._ledger.receive()
            verdict = self._members.judge(identity, frames, host)
            for receiver, answer in verdict.answers:
                await self._deliver(receiver, answer)
            if verdict.accepted:
                return verdict.accepted

    async def send(self, actor: str, message: FromLearner) -> bool:
        """As `LearnerBus.send`."""
        identity = self._members.identity(actor)
        return identity is not None and await self._deliver(identity, message)

    def forget(self, actor: str) -> None:
        """As `LearnerBus.forget`."""
        self._members.forget(actor)

    async def _deliver(self, identity: bytes, message: FromLearner) -> bool:
        try:
            await self._ledger.send_multipart([identity, *codec.encode(message)], zmq.NOBLOCK)
        except zmq.ZMQError as error:
            if error.errno not in (zmq.EAGAIN, zmq.EHOSTUNREACH):
                raise
            return False  # the queue is full, or nobody of that identity is connected
        return True

    async def announce(self, announcement: PolicyAnnouncement) -> None:
        """As `LearnerBus.announce`."""
        self._newest = check_size(codec.encode(announcement), announcement, self.config.max_message_bytes)
        await self._policy.send_multipart([ANNOUNCEMENT, *self._newest])

    async def _greet_subscribers(self) -> None:
        """Answer the subscription to each snapshot topic with the newest policy, for ever."""
        while True:
            (event, *_), _ = await self._policy.receive()
            if event.startswith(b"\x01" + SNAPSHOT) and self._newest:
                await self._policy.send_multipart([event[1:], *self._newest])

    async def close(self) -> None:
        """As `LearnerBus.close`."""
        await self._stack.aclose()
