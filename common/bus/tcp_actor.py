"""An actor's end of the bus over TCP.

ledger    DEALER   read by `receive`, which is the caller's loop
policy    SUB      a PolicyFeed, followed in the background between `start` and `close`
weights   DEALER   one per fetch
"""

import asyncio
import logging
import secrets
from contextlib import AsyncExitStack
from pathlib import Path

import zmq
import zmq.asyncio

from common import codec
from common.aio import background, within
from common.bus.chunks import ChunkFetch, request_of
from common.bus.config import BusConfig
from common.bus.greeting import Greeting
from common.bus.handshake import Handshakes
from common.bus.policy_feed import PolicyFeed
from common.bus.sizes import check_size
from common.bus.sockets import connect, open_socket
from common.errors import PreflightError, ProtocolError
from common.messages import (
    FromActor,
    FromLearner,
    Goodbye,
    Hello,
    PolicyAnnouncement,
    Refusal,
    WeightManifest,
    Welcome,
)
from common.weights.manifest import file_bytes

log = logging.getLogger(__name__)


class TcpActorBus:
    """`ActorBus` over TCP; `config` holds the ports that the learner has bound.

    When the learner stops admitting this machine's key, the task that called `start` is cancelled and `close`
    raises the PreflightError that says so.
    """

    def __init__(self, config: BusConfig, actor: str, run: str = "") -> None:
        self._refused = 0
        self._config = config
        self._hello = Hello(actor=actor, run=run)
        self._who = f"actor {actor!r}: the learner at {config.host}:{config.ledger_port}"
        self._identity = secrets.token_hex(16).encode()
        self._feed: PolicyFeed | None = None
        self._stack = AsyncExitStack()
        self._greeting = Greeting(config.heartbeat_s)
        self._owes_goodbye = False

    @property
    def refused(self) -> int:
        """As `ActorBus.refused`."""
        return self._refused + (self._feed.refused if self._feed else 0)

    async def start(self) -> Welcome:
        """As `ActorBus.start`."""
        async with AsyncExitStack() as stack:
            context = zmq.asyncio.Context()
            stack.push_async_callback(asyncio.to_thread, context.term)
            self._ledger = self._open_ledger(context)
            stack.callback(self._ledger.close)
            handshakes = Handshakes(self._ledger, self._config, self._who)
            stack.callback(handshakes.close)
            self._feed = feed = PolicyFeed(context, self._config)
            stack.callback(feed.close)
            connect(self._ledger, self._config, self._config.ledger_port)
            await stack.enter_async_context(background(handshakes.watch()))
            answer = await within(self._config.connect_s, self._greet(), self._who, PreflightError)
            if not isinstance(answer, Welcome):
                reason = getattr(answer, "reason", answer)
                raise ProtocolError(f"the learner refused {self._hello.actor!r}: {reason}")
            self._owes_goodbye = True
            feed.connect()
            await stack.enter_async_context(background(feed.follow()))
            self._stack = stack.pop_all()
        return answer

    def _open_ledger(self, context: zmq.asyncio.Context) -> zmq.asyncio.Socket:
        ledger = open_socket(context, zmq.DEALER, self._config)
        ledger.setsockopt(zmq.ROUTING_ID, self._identity)
        # Queue nothing for a learner that is away: it could only refuse what it finds there.
        ledger.setsockopt(zmq.IMMEDIATE, 1)
        return ledger

    async def _greet(self) -> FromLearner:
        """Say Hello until it is answered: what is said to nobody, or torn on the way, is lost."""
        async with background(self._say_hello()):
            while True:
                try:
                    answer: FromLearner = codec.decode(await self._ledger.recv_multipart(), FromLearner)
                except ProtocolError as error:
                    self._drop("ledger", error)
                    continue
                if not isinstance(answer, Refusal) or answer.reason != codec.TORN:
                    return answer

    async def _say_hello(self) -> None:
        """Endless: once per heartbeat interval."""
        while True:
            await self.send(self._hello)
            await asyncio.sleep(self._config.heartbeat_s)

    async def send(self, message: FromActor) -> None:
        """As `ActorBus.send`."""
        frames = check_size(codec.encode(message), message, self._config.max_message_bytes)
        await self._ledger.send_multipart(frames, copy=False)
        if isinstance(message, Goodbye):
            self._owes_goodbye = False

    async def receive(self) -> FromLearner:
        """As `ActorBus.receive`."""
        while True:
            try:
                message: FromLearner = codec.decode(await self._ledger.recv_multipart(), FromLearner)
            except ProtocolError as error:
                self._drop("ledger", error)
                continue
            if not self._greeting.is_asked_for(message):
                return message
            if self._greeting.is_due():
                await self.send(self._hello)

    async def next_policy(self) -> PolicyAnnouncement:
        """As `ActorBus.next_policy`."""
        assert self._feed is not None  # after `start`
        return await self._feed.next()

    def _drop(self, channel: str, error: ProtocolError) -> None:
        self._refused += 1
        log.warning("dropped a malformed message channel=%s reason=%s", channel, error)

    async def fetch_weights(self, manifest: WeightManifest, into: Path) -> Path:
        """As `ActorBus.fetch_weights`."""
        fetch = ChunkFetch(request_of(manifest), self._config, max_bytes=file_bytes(manifest))
        await fetch.run(into)
        return into

    async def close(self) -> None:
        """As `ActorBus.close`."""
        if self._owes_goodbye:
            self._owes_goodbye = False
            try:
                await self._ledger.send_multipart(codec.encode(Goodbye()), zmq.NOBLOCK)
            except zmq.Again:
                log.info("left without a goodbye learner=away")
        await self._stack.aclose()
