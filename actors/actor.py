"""The actor: one event loop, one engine, many episodes at once.

Consumes grants and policy announcements; produces trajectories, faults and heartbeats. It waits for the
engine, the hub and the learner, each with a deadline; the learner's `ack` lets it forget a trajectory, its
`stop` ends the loop. A trajectory that is not acknowledged is sent again: delivery is effectively once
because the learner recognises it.
"""

import asyncio
import logging
import time
from dataclasses import dataclass

from actors.config import ActorConfig
from actors.rollout import Table, play
from actors.weight_sync import WeightSync
from common.aio import background
from common.bus.bus import ActorBus
from common.bus.config import BusConfig
from common.errors import EngineFault, EnvironmentFault
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
from common.trajectory import Trajectory

log = logging.getLogger(__name__)

FAULT_BACKOFF_S = 0.5
"""Pause after a fault, so that a broken hub is not hammered with every lease there is."""


@dataclass
class _Kept:
    """A finished trajectory that the learner has not acknowledged yet."""

    trajectory: Trajectory
    sent_at: float


class Actor:
    """Plays whatever it is granted until it is told to stop."""

    def __init__(
        self, config: ActorConfig, bus_config: BusConfig, bus: ActorBus, table: Table, sync: WeightSync
    ) -> None:
        self._config = config
        self._bus_config = bus_config
        self._bus = bus
        self._table = table
        self._sync = sync
        self._playing: dict[tuple[int, int], asyncio.Task[None]] = {}
        self._unacknowledged: dict[tuple[int, int], _Kept] = {}
        self._withheld = 0

    async def run(self) -> str:
        """Play until the learner says stop; returns its reason. Raises what broke the bus for good."""
        await self._bus.start()
        async with background(self._sync.follow(), self._heartbeats(), self._resubmit()):
            await self._bus.send(Ready(credits=self._config.max_sessions))
            async with asyncio.TaskGroup() as sessions:
                reason = await self._serve(sessions)
                for task in self._playing.values():
                    task.cancel()
        await self._bus.send(Goodbye())
        log.info("stopped actor=%s reason=%s", self._table.actor, reason)
        return reason

    async def _serve(self, sessions: asyncio.TaskGroup) -> str:
        """Handle what the learner says until it says stop; returns why."""
        while True:
            message = await self._bus.receive()
            if isinstance(message, Stop):
                return message.reason
            await self._handle(message, sessions)

    async def _handle(self, message: FromLearner, sessions: asyncio.TaskGroup) -> None:
        match message:
            case Grant():
                key = (message.lease.identity.group, message.lease.identity.member)
                if key not in self._playing:
                    self._playing[key] = sessions.create_task(self._play(message.lease))
            case Ack():
                self._unacknowledged.pop((message.identity.group, message.identity.member), None)
                await self._ask_for_more()
            case Cancel():
                task = self._playing.get((message.identity.group, message.identity.member))
                if task is not None:
                    task.cancel()
            case Welcome():
                # The learner has come back and knows nothing of our credits or of what we still hold.
                self._withheld = self._config.max_sessions - len(self._playing)
                await self._ask_for_more()
                for kept in self._unacknowledged.values():
                    kept.sent_at = 0.0
            case Refusal():
                log.warning("refused reason=%s", message.reason)

    async def _play(self, lease: Lease) -> None:
        """One lease from grant to submission; whatever happens, its credit goes back."""
        key = (lease.identity.group, lease.identity.member)
        try:
            await self._sync.reached(lease.min_version)
            trajectory = await play(lease, self._table)
            self._unacknowledged[key] = _Kept(trajectory, time.monotonic())
            await self._bus.send(Submit(trajectory=trajectory))
        except (EnvironmentFault, EngineFault) as fault:
            await self._report(lease, str(fault))
        except Exception as error:
            log.exception("broke group=%d member=%d", *key)
            await self._report(lease, f"{type(error).__name__}: {error}")
        finally:
            del self._playing[key]
            self._withheld += 1
        await self._ask_for_more()

    async def _report(self, lease: Lease, reason: str) -> None:
        await self._bus.send(Fault(identity=lease.identity, reason=reason[:4000]))
        await asyncio.sleep(FAULT_BACKOFF_S)

    async def _ask_for_more(self) -> None:
        """Ask for leases for our free places, unless too many trajectories still wait to be acknowledged."""
        if self._withheld and len(self._unacknowledged) < self._config.max_unacknowledged:
            credits, self._withheld = self._withheld, 0
            await self._bus.send(Ready(credits=credits))

    async def _heartbeats(self) -> None:
        """Endless: say that we are alive, and what the engine does."""
        while True:
            load = self._table.engine.load()
            await self._bus.send(
                Heartbeat(
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
                )
            )
            await self._ask_for_more()
            await asyncio.sleep(self._bus_config.heartbeat_s)

    async def _resubmit(self) -> None:
        """Endless: send again what was not acknowledged in time."""
        while True:
            await asyncio.sleep(self._bus_config.resubmit_s / 4)
            late = time.monotonic() - self._bus_config.resubmit_s
            for kept in [k for k in self._unacknowledged.values() if k.sent_at < late]:
                kept.sent_at = time.monotonic()
                await self._bus.send(Submit(trajectory=kept.trajectory))
