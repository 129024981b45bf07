"""The actor: one event loop, one engine, many episodes at once.

Consumes grants and policy announcements; produces trajectories, faults and heartbeats. It waits for the
engine, the hub and the learner, each with a deadline; the learner's `ack` lets it forget a trajectory, its
`stop` ends the loop. A finished trajectory lies in the outbox, on the disk, until it is acknowledged, and is
sent again, by a later process of the same name too: delivery is effectively once because the learner
recognises it.
"""

import asyncio
import logging
import math
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from actors.config import ActorConfig
from actors.outbox import DiskOutbox, Outbox
from actors.rollout import Table, play
from actors.weight_sync import WeightSync
from common.aio import background, first_leaf
from common.bus.bus import ActorBus
from common.bus.config import BusConfig
from common.errors import ConfigurationError, EngineDead, EngineFault, EnvironmentFault, ProtocolError
from common.messages import (
    Ack,
    Cancel,
    Fault,
    FromLearner,
    Goodbye,
    Grant,
    Heartbeat,
    Lease,
    Ready,
    Refusal,
    Stop,
    Submit,
    Welcome,
)
from common.trajectory import Member, Trajectory

log = logging.getLogger(__name__)

GOODBYE_S = 1.0
"""How long a learner that said stop is given to hear of it."""

FAULT_PAUSE_S = 0.5
MAX_FAULT_PAUSE_S = 30.0
"""After a fault the session rests, twice as long at each attempt: a broken hub is not hammered."""


@dataclass
class _Kept:
    """A finished trajectory that the learner has not acknowledged yet."""

    trajectory: Trajectory
    sent_at: float = -math.inf


class Actor:
    """Plays whatever it is granted until it is told to stop."""

    def __init__(
        self,
        config: ActorConfig,
        bus_config: BusConfig,
        *,
        bus: ActorBus,
        table: Table,
        sync: WeightSync,
        outbox: DiskOutbox,
    ) -> None:
        self._config = config
        self._bus_config = bus_config
        self._bus = bus
        self._table = table
        self._sync = sync
        self._playing: dict[Member, asyncio.Task[None]] = {}
        """Of one member two attempts: a lease that was given up may come back while it is still played."""
        self._unacknowledged: dict[Member, _Kept] = {}
        self._withheld = 0
        self._asked = 0
        """Leases asked for since the last first Ready."""
        self._count = asyncio.Lock()
        """Held while a Ready or a Heartbeat leaves: a Heartbeat counts the Readies that left before it."""
        self._is_first = True
        self._has_room = asyncio.Event()
        self._is_welcome = asyncio.Event()
        """The learner knows nothing of our credits or of what we still hold."""
        self._outbox = Outbox(
            outbox,
            max_number=config.max_unacknowledged,
            max_bytes=config.max_unacknowledged_bytes,
            on_room=self._has_room.set,
        )

    async def run(self) -> str:
        """Play until the learner says stop; returns its reason.

        Raises what broke the bus, the engine (EngineDead) or the templates (ConfigurationError) for good.
        """
        try:
            for trajectory in await self._outbox.open():
                self._unacknowledged[trajectory.identity] = _Kept(trajectory)
            reason = await self._play_until_stopped()
        finally:
            await self._outbox.close()
        # A learner that has told everybody to stop may be gone already, and nothing is sent to nobody.
        with suppress(TimeoutError):
            async with asyncio.timeout(GOODBYE_S):
                await self._bus.send(Goodbye())
        return reason

    async def _play_until_stopped(self) -> str:
        await self._bus.start()
        self._is_welcome.set()
        loops = (
            self._sync.follow(),
            self._outbox.serve(),
            self._heartbeats(),
            self._resubmit(),
            self._ask_for_more(),
        )
        try:
            async with background(*loops), asyncio.TaskGroup() as sessions:
                reason = await self._serve(sessions)
                for task in self._playing.values():
                    task.cancel()
        except ExceptionGroup as errors:
            raise first_leaf(errors) from errors
        return reason

    async def _serve(self, sessions: asyncio.TaskGroup) -> str:
        """Handle what the learner says until it says stop; returns why."""
        while True:
            message = await self._bus.receive()
            if isinstance(message, Stop):
                log.info("stopped actor=%s reason=%s", self._table.actor, message.reason)
                return message.reason
            await self._handle(message, sessions)

    async def _handle(self, message: FromLearner, sessions: asyncio.TaskGroup) -> None:
        match message:
            case Grant():
                identity = message.lease.identity
                if identity not in self._playing:
                    self._playing[identity] = sessions.create_task(self._play(message.lease))
                    # Not in `_play`: a task that is cancelled before its first step never runs at all.
                    self._playing[identity].add_done_callback(partial(self._ended, identity))
            case Ack():
                self._forget(message.identity)
            case Cancel():
                task = self._playing.get(message.identity)
                if task is not None:
                    task.cancel()
            case Welcome():
                self._is_welcome.set()
            case Refusal():
                log.warning("refused reason=%s", message.reason)

    def _begin(self) -> None:
        """Nothing is granted and nothing asked for yet: ask for all free places."""
        self._is_first = True
        self._withheld = max(0, self._config.max_sessions - len(self._playing))
        self._has_room.set()

    async def _play(self, lease: Lease) -> None:
        """One lease from grant to submission."""
        try:
            trajectory = await self._played(lease)
            kept = self._unacknowledged[lease.identity] = _Kept(trajectory, time.monotonic())
            await self._outbox.keep(trajectory)
            await self._submit(kept)
        except (EngineDead, ConfigurationError):
            raise
        except (EnvironmentFault, EngineFault) as fault:
            await self._report(lease, str(fault))
        except Exception as error:
            log.exception("broke group=%d member=%d", lease.identity.group, lease.identity.member)
            await self._report(lease, f"{type(error).__name__}: {error}")

    async def _played(self, lease: Lease) -> Trajectory:
        """The episode, no token of it older than the lease allows.

        A learner that resumes from a checkpoint takes the engine back to an older version: an episode that
        this happened to is played again when the learner has come as far as before.
        """
        while True:
            await self._sync.reached(lease.min_version)
            trajectory = await play(lease, self._table)
            if not trajectory.num_action_tokens or trajectory.oldest_version >= lease.min_version:
                return trajectory

    def _ended(self, identity: Member, _: asyncio.Task[None]) -> None:
        """Whatever became of the episode, its credit goes back, unless more are played than asked for."""
        del self._playing[identity]
        if len(self._playing) < self._config.max_sessions:
            self._withheld += 1
            self._has_room.set()

    async def _report(self, lease: Lease, reason: str) -> None:
        await self._bus.send(Fault(identity=lease.identity, reason=reason[:4000]))
        # The credit stays away for the pause: a hub that is down is asked less and less.
        await asyncio.sleep(min(MAX_FAULT_PAUSE_S, FAULT_PAUSE_S * 2.0 ** min(lease.identity.attempt, 10)))

    async def _ask_for_more(self) -> None:
        """Endless: ask for leases for free places, unless too many trajectories wait to be acknowledged."""
        while True:
            await self._has_room.wait()
            self._has_room.clear()
            async with self._count:
                credits = self._withheld if self._outbox.has_room else 0
                if credits or self._is_first:
                    message = Ready(credits=credits, is_first=self._is_first)
                    self._asked = credits if self._is_first else self._asked + credits
                    self._withheld, self._is_first = self._withheld - credits, False
                    await self._bus.send(message)

    async def _heartbeats(self) -> None:
        """Endless: say that we are alive, and what the engine does."""
        while True:
            async with self._count:
                await self._bus.send(self._heartbeat())
            await asyncio.sleep(self._bus_config.heartbeat_s)

    def _heartbeat(self) -> Heartbeat:
        load = self._table.engine.load()
        return Heartbeat(
            policy_version=self._table.engine.policy_version,
            num_sessions=len(self._playing),
            num_running=load.num_running,
            num_waiting=load.num_waiting,
            generated_tokens=load.generated_tokens,
            generation_s=load.generation_s,
            paused_s=load.paused_s,
            weight_sync_s=self._sync.last_seconds,
            first_token_s=self._sync.last_first_token_s,
            unacknowledged=len(self._unacknowledged),
            asked=self._asked,
            held=tuple({(m.group, m.member) for m in (*self._playing, *self._unacknowledged)}),
        )

    async def _submit(self, kept: _Kept) -> None:
        """Send a trajectory; what is too large for the bus never arrives, so its lease is given back."""
        kept.sent_at = time.monotonic()
        try:
            await self._bus.send(Submit(trajectory=kept.trajectory))
        except ProtocolError as error:
            identity = kept.trajectory.identity
            log.warning("given_up group=%d member=%d reason=%s", identity.group, identity.member, error)
            self._forget(identity)
            await self._bus.send(Fault(identity=identity, reason=str(error)[:4000]))

    def _forget(self, identity: Member) -> None:
        """Nobody waits for this trajectory any more."""
        self._unacknowledged.pop(identity, None)
        self._outbox.forget(identity)

    async def _resubmit(self) -> None:
        """Endless: send what was not acknowledged in time; after a welcome everything, then ask for leases.

        In this order: what is in the outbox is not to be granted to anybody again.
        """
        while True:
            is_welcome = self._is_welcome.is_set()
            self._is_welcome.clear()
            late = math.inf if is_welcome else time.monotonic() - self._bus_config.resubmit_s
            for kept in [k for k in self._unacknowledged.values() if k.sent_at < late]:
                await self._submit(kept)
            if is_welcome:
                self._begin()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._bus_config.resubmit_s / 4):
                    await self._is_welcome.wait()
