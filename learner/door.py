"""The door: answers what actors say on the ledger channel, and notices who has fallen silent.

Consumes messages from the bus, produces acknowledgements, grants and cancellations. Waits for the next
message; whoever is granted something is woken by it. Submissions that have queued up meanwhile are
committed in one transaction: the more there is to do, the cheaper each becomes.
"""

import asyncio
import logging
from collections.abc import Iterable

from common.bus.bus import LearnerBus
from common.bus.config import BusConfig
from common.messages import Fault, FromActor, FromLearner, Goodbye, Heartbeat, Hello, Ready, Stop, Submit
from learner.dispatcher import Dispatcher
from learner.ledger_records import LeaseEnd

log = logging.getLogger(__name__)

MAX_COMMIT = 64
"""The most submissions in one transaction; bounds how long an acknowledgement waits for others."""


class Door:
    """Serves the ledger channel of one run for as long as `serve` and `watch` run."""

    def __init__(self, bus: LearnerBus, dispatcher: Dispatcher, config: BusConfig) -> None:
        self.heartbeats: dict[str, Heartbeat] = {}
        """The last heartbeat of every actor that has ever been heard."""
        self._bus = bus
        self._dispatcher = dispatcher
        self._config = config
        self._inbox: asyncio.Queue[tuple[str, FromActor]] = asyncio.Queue(maxsize=config.max_queued_messages)

    async def receive(self) -> None:
        """Endless: from the bus into the inbox; while that is full the bus's high-water mark holds actors."""
        while True:
            await self._inbox.put(await self._bus.receive())

    async def serve(self) -> None:
        """Endless: handle what is in the inbox, submissions together, then grant."""
        while True:
            batch = [await self._inbox.get()]
            while not self._inbox.empty() and len(batch) < MAX_COMMIT:
                batch.append(self._inbox.get_nowait())
            submissions = [(actor, m.trajectory) for actor, m in batch if isinstance(m, Submit)]
            # A trajectory counts even from an actor that was given up meanwhile: perhaps nobody was faster.
            if submissions:
                await self._send(await self._dispatcher.submit(submissions))
            for actor, message in batch:
                if not isinstance(message, Submit):
                    await self._handle(actor, message)
            await self.grant()

    async def watch(self) -> None:
        """Endless: every heartbeat interval, take the leases of actors that have been silent for too long.

        And of those that have not begun for as long: they are here, and must say Hello once more.
        """
        while True:
            await asyncio.sleep(self._config.heartbeat_s)
            limit_s, book = self._config.actor_timeout_s, self._dispatcher.book
            for actor in {*book.silent(limit_s), *book.unbegun(limit_s)}:
                log.warning("lost actor=%s silent_s=%.1f", actor, limit_s)
                await self._give_up(actor, "lost")
                await self.grant()

    async def grant(self) -> None:
        """Grant whatever can be granted now; the learner calls it when a step has freed slots."""
        await self._send(await self._dispatcher.grants())

    async def abandon(self, label: str) -> None:
        """Give an evaluation up, and tell every actor that still plays a part of it."""
        await self._send(await self._dispatcher.abandon_evaluation(label))

    async def stop(self, reason: str) -> None:
        """Tell every actor that the run is over."""
        await self._send([(actor, Stop(reason=reason)) for actor in self._dispatcher.book.actors])

    async def _handle(self, actor: str, message: FromActor) -> None:
        dispatcher = self._dispatcher
        if isinstance(message, Hello):
            await dispatcher.join(actor)
            log.info("joined actor=%s", actor)
            return
        if not dispatcher.book.heard(actor):
            # Said before it was given up. It says Hello first, then what it can play.
            return
        match message:
            case Ready():
                dispatcher.book.add_credits(actor, message.credits, is_first=message.is_first)
            case Fault():
                log.warning(
                    "faulted actor=%s group=%d reason=%s", actor, message.identity.group, message.reason
                )
                await self._send(await dispatcher.fault(actor, message.identity))
            case Heartbeat():
                self.heartbeats[actor] = message
                if message.asked is not None:
                    dispatcher.book.restate(actor, message.asked)
                await dispatcher.reconcile(actor, message.held, self._config.actor_timeout_s)
            case Goodbye():
                await dispatcher.leave(actor, "left")

    async def _send(self, messages: Iterable[tuple[str, FromLearner]]) -> None:
        """Deliver; an actor that cannot be reached any more loses its leases to others."""
        gone: set[str] = set()
        for actor, message in messages:
            if actor not in gone and not await self._bus.send(actor, message):
                log.warning("unreachable actor=%s", actor)
                gone.add(actor)
                await self._give_up(actor, "unreachable")

    async def _give_up(self, actor: str, why: LeaseEnd) -> None:
        """Its leases go to others, and its credits are void: if it lives, it says Hello and begins anew."""
        self._bus.forget(actor)
        await self._dispatcher.leave(actor, why)
