"""The bus inside one event loop: the same frames, validation and membership, no sockets.

For tests and for the whole system in one process. A `MemoryWire` takes the place of host and ports; a learner
that closes leaves it, and another one may start on it, as after a restart.
"""

import asyncio
import secrets
import shutil
from collections.abc import Sequence
from pathlib import Path

from common import codec
from common.aio import within
from common.bus.chunks import request_of
from common.bus.config import BusConfig
from common.bus.greeting import Greeting
from common.bus.membership import Membership
from common.bus.newest import Newest
from common.bus.sizes import check_size
from common.errors import PreflightError, ProtocolError, WeightError
from common.messages import (
    FromActor,
    FromLearner,
    Goodbye,
    Hello,
    PolicyAnnouncement,
    WeightManifest,
    Welcome,
)
from common.weights.source import WeightSource

Frames = Sequence[codec.Buffer]


class MemoryWire:
    """Where one learner and its actors meet."""

    def __init__(self, config: BusConfig) -> None:
        self.learner: MemoryLearnerBus | None = None
        self.has_learner = asyncio.Event()
        self.inbox: asyncio.Queue[tuple[bytes, Frames]] = asyncio.Queue(config.max_queued_messages)
        self.outboxes: dict[bytes, asyncio.Queue[Frames]] = {}
        self.policies: dict[bytes, Newest[PolicyAnnouncement]] = {}

    def admit(self, learner: "MemoryLearnerBus") -> None:
        """Let `learner` listen here; PreflightError when another one does."""
        if self.learner is not None:
            raise PreflightError("this memory wire has a learner already")
        self.learner = learner
        self.has_learner.set()

    def leave(self, learner: "MemoryLearnerBus") -> None:
        """Stop listening; what was on the way to the learner is lost."""
        if self.learner is learner:
            self.learner = None
            self.has_learner.clear()
            while not self.inbox.empty():
                self.inbox.get_nowait()

    def deliver(self, identity: bytes, message: FromLearner) -> bool:
        """Put `message` into the outbox of one actor; False when it is gone or its outbox is full."""
        outbox = self.outboxes.get(identity)
        if outbox is None or outbox.full():
            return False
        outbox.put_nowait(codec.encode(message))
        return True


class MemoryLearnerBus:
    """`LearnerBus` on a `MemoryWire`."""

    def __init__(
        self, config: BusConfig, run: str, weights: WeightSource | None = None, *, wire: MemoryWire
    ) -> None:
        self.config = config
        self.weights = weights
        self.newest: PolicyAnnouncement | None = None
        self._wire = wire
        self._members = Membership(Welcome(run=run, heartbeat_s=config.heartbeat_s))

    @property
    def refused(self) -> int:
        """As `LearnerBus.refused`."""
        return self._members.refused

    async def start(self) -> None:
        """As `LearnerBus.start`; the wire is the port."""
        self._wire.admit(self)

    async def receive(self) -> tuple[str, FromActor]:
        """As `LearnerBus.receive`."""
        while True:
            verdict = self._members.judge(*await self._wire.inbox.get())
            for identity, answer in verdict.answers:
                self._wire.deliver(identity, answer)
            if verdict.accepted:
                return verdict.accepted

    async def send(self, actor: str, message: FromLearner) -> bool:
        """As `LearnerBus.send`."""
        identity = self._members.identity(actor)
        return identity is not None and self._wire.deliver(identity, message)

    def forget(self, actor: str) -> None:
        """As `LearnerBus.forget`."""
        self._members.forget(actor)

    async def announce(self, announcement: PolicyAnnouncement) -> None:
        """As `LearnerBus.announce`."""
        frames = check_size(codec.encode(announcement), announcement, self.config.max_message_bytes)
        self.newest = codec.decode(frames, PolicyAnnouncement)
        for policy in self._wire.policies.values():
            policy.put(self.newest)

    async def close(self) -> None:
        """As `LearnerBus.close`."""
        self._wire.leave(self)


class MemoryActorBus:
    """`ActorBus` on a `MemoryWire`."""

    def __init__(self, config: BusConfig, actor: str, run: str = "", *, wire: MemoryWire) -> None:
        self.refused = 0
        self._config = config
        self._hello = Hello(actor=actor, run=run)
        self._wire = wire
        self._identity = secrets.token_bytes(16)
        self._outbox: asyncio.Queue[Frames] = asyncio.Queue(config.max_queued_messages)
        self._policy: Newest[PolicyAnnouncement] = Newest()
        self._greeting = Greeting(config.heartbeat_s)
        self._owes_goodbye = False

    async def start(self) -> Welcome:
        """As `ActorBus.start`."""
        self._wire.outboxes[self._identity] = self._outbox
        answer = await within(
            self._config.connect_s, self._greet(), f"actor {self._hello.actor!r}: the learner", PreflightError
        )
        if not isinstance(answer, Welcome):
            raise ProtocolError(
                f"the learner refused {self._hello.actor!r}: {getattr(answer, 'reason', answer)}"
            )
        self._owes_goodbye = True
        self._wire.policies[self._identity] = self._policy
        if self._wire.learner is not None and self._wire.learner.newest is not None:
            self._policy.put(self._wire.learner.newest)
        return answer

    async def _greet(self) -> FromLearner:
        await self.send(self._hello)
        return await self.receive()

    async def send(self, message: FromActor) -> None:
        """As `ActorBus.send`."""
        frames = check_size(codec.encode(message), message, self._config.max_message_bytes)
        await self._wire.has_learner.wait()
        await self._wire.inbox.put((self._identity, frames))
        if isinstance(message, Goodbye):
            self._owes_goodbye = False

    async def receive(self) -> FromLearner:
        """As `ActorBus.receive`."""
        while True:
            message: FromLearner = codec.decode(await self._outbox.get(), FromLearner)
            if not self._greeting.is_asked_for(message):
                return message
            if self._greeting.is_due():
                await self.send(self._hello)

    async def next_policy(self) -> PolicyAnnouncement:
        """As `ActorBus.next_policy`."""
        return await self._policy.take()

    async def fetch_weights(self, manifest: WeightManifest, into: Path) -> Path:
        """As `ActorBus.fetch_weights`; copies the learner's file."""
        learner = self._wire.learner
        held = learner.weights.find(request_of(manifest)) if learner and learner.weights else None
        if not isinstance(held, Path):
            raise WeightError(f"the learner does not hold version {manifest.version}")
        try:
            await asyncio.to_thread(shutil.copyfile, held, into)
        except OSError as error:
            raise WeightError(f"version {manifest.version} could not be copied to {into}: {error}") from None
        return into

    async def close(self) -> None:
        """As `ActorBus.close`."""
        self._wire.policies.pop(self._identity, None)
        self._wire.outboxes.pop(self._identity, None)
        if self._owes_goodbye and self._wire.learner is not None and not self._wire.inbox.full():
            self._owes_goodbye = False
            self._wire.inbox.put_nowait((self._identity, codec.encode(Goodbye())))
