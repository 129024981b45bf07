"""Every open session of the hub: where it lives, whose it is, when it was used; one caller at a time.

Sessions end when they are closed, when nobody touches them for `session_ttl_s`, or with their worker.
"""

import asyncio
import itertools
import secrets
import time
from collections.abc import Awaitable, Callable, Iterable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from common.trajectory import TaskReference
from envhub.catalogue import Catalogue
from envhub.config import HubConfig
from envhub.latency import StepLatency
from envhub.metrics import HubMetrics
from envhub.pools import Pools, WorkerPool
from envhub.refusal import HubRefusal
from envhub.workers import Worker

MAX_WAITING = 8
"""Steps of one session that may wait for their turn."""

Clock = Callable[[], float]
Outcome = dict[str, Any] | HubRefusal
"""Of one step among many."""


@dataclass
class _Entry:
    worker: Worker
    environment: str
    owner: str
    used_at: float
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    num_waiting: int = 0


@dataclass(frozen=True)
class _Turn:
    """A step on its way."""

    identity: str
    entry: _Entry
    answer: asyncio.Future[Any]
    began: float


class Step(NamedTuple):
    """One turn of one session; `is_text` when the action still stands in the policy's text."""

    session: str
    turn: int
    action: str
    is_text: bool = False


class SessionTable(Catalogue):
    """A catalogue whose tasks can be played: opens, plays and closes sessions on the workers.

    `owner` is whoever a call is made for, empty where nobody is told apart; to it the sessions of others do
    not exist.
    """

    def __init__(
        self, config: HubConfig, pools: Pools, metrics: HubMetrics, clock: Clock = time.monotonic
    ) -> None:
        super().__init__(config, pools)
        self._metrics, self._clock = metrics, clock
        self._latency = StepLatency(config)
        self._entries: dict[str, _Entry] = {}
        self.is_draining = False
        """No new sessions: the hub is about to end."""
        self._left = asyncio.Event()

    def __len__(self) -> int:
        """Sessions on living workers, those just being opened included."""
        return sum(self._pools.num_sessions.values())

    async def open(self, task: TaskReference, action_format: str, owner: str = "") -> dict[str, Any]:
        """A new session under an unguessable id, with its instructions, observation and horizon."""
        self._check_open()
        pool = self._pool(task.environment)
        worker = await pool.least_loaded()
        # The first workers take a while.
        self._check_open()
        self._check_room(pool)
        identity = secrets.token_urlsafe(16)
        worker.sessions.add(identity)
        spec = task.model_copy(update={"environment": self._config.spec(task.environment)})
        with ExitStack() as undo:
            undo.callback(worker.sessions.discard, identity)
            # Whoever gives up waiting leaves a session that nobody knows.
            undo.callback(lambda: worker.ask("close", identity).cancel())
            try:
                opening = await worker.call("create", identity, spec.model_dump(), action_format)
            except HubRefusal as refusal:
                if refusal.status == 410:
                    self._metrics.session_faulted(task.environment, refusal.code)
                raise
            undo.pop_all()
        self._entries[identity] = _Entry(worker, task.environment, owner, self._clock())
        self._metrics.session_opened(task.environment)
        return {"session": identity, **opening}

    async def step(
        self, identity: str, index: int, action: str, owner: str = "", is_text: bool = False
    ) -> dict[str, Any]:
        """Play turn `index`, after the configured latency; a repeated turn is answered from memory.

        `is_text`: the action still stands in the policy's text, in the session's format.
        """
        entry = self._entry(identity, owner)
        began = time.monotonic()
        if entry.num_waiting >= MAX_WAITING:
            raise HubRefusal("hub_full", f"{MAX_WAITING} steps of this session are waiting already")
        entry.num_waiting += 1
        try:
            async with entry.lock:
                if wait_s := self._latency.next_s():
                    await asyncio.sleep(wait_s)
                return await self._played(self._sent(Step(identity, index, action, is_text), entry, began))
        finally:
            entry.num_waiting -= 1

    async def step_many(self, steps: Iterable[Step | tuple[str, int, str]], owner: str = "") -> list[Outcome]:
        """`step` for each, side by side; in each place the result or the refusal.

        What nothing holds up is sent at once, without a task of its own; those sessions are let go together.
        """
        began = time.monotonic()
        held: list[asyncio.Lock] = []
        turns: dict[int, _Turn] = {}
        tasks: dict[int, asyncio.Task[Outcome]] = {}
        async with asyncio.TaskGroup() as group:
            try:
                for place, step in enumerate(itertools.starmap(Step, steps)):
                    entry = self._entries.get(step.session)
                    if entry is None or not self._is_free(entry, owner):
                        play = self.step(step.session, step.turn, step.action, owner, step.is_text)
                        tasks[place] = group.create_task(outcome(play))
                        continue
                    await entry.lock.acquire()
                    held.append(entry.lock)
                    turns[place] = self._sent(step, entry, began)
                outcomes = {place: await outcome(self._played(turn)) for place, turn in turns.items()}
            finally:
                for turn in turns.values():
                    turn.answer.cancel()
                for lock in held:
                    lock.release()
        outcomes |= {place: task.result() for place, task in tasks.items()}
        return [outcomes[place] for place in range(len(outcomes))]

    async def ask(self, identity: str, operation: str, owner: str = "") -> Any:
        """`observation`, `actions`, `render`, `picture` or `detail` of a session."""
        entry = self._entry(identity, owner)
        return await self._heard(identity, entry, self._send(identity, entry, operation), operation)

    async def close(self, identity: str, owner: str = "") -> None:
        """Forget a session; `unknown_session` when it is not there."""
        await self._close(identity, self._entry(identity, owner))

    async def drained(self) -> None:
        """Open no more sessions, and wait until those in play have ended."""
        self.is_draining = True
        while self._entries:
            self._left.clear()
            await self._left.wait()

    async def sweep(self) -> int:
        """Close what nobody has touched for the time to live, and forget what died; how many were closed."""
        oldest = self._clock() - self._config.session_ttl_s
        number = 0
        for identity, entry in tuple(self._entries.items()):
            if self._entries.get(identity) is not entry or entry.lock.locked():
                continue
            if (death := entry.worker.death) is not None:
                self._fault(identity, entry, death.code)
            elif entry.used_at < oldest:
                await self._close(identity, entry)
                self._metrics.session_expired(entry.environment)
                number += 1
        return number

    def _is_free(self, entry: _Entry, owner: str) -> bool:
        return entry.owner == owner and not entry.lock.locked() and not self._config.latency_mean_s

    def _sent(self, step: Step, entry: _Entry, began: float) -> _Turn:
        answer = self._send(step.session, entry, "step", step.turn, step.action, step.is_text)
        return _Turn(step.session, entry, answer, began)

    async def _played(self, turn: _Turn) -> dict[str, Any]:
        result: dict[str, Any] = await self._heard(turn.identity, turn.entry, turn.answer)
        self._metrics.step_answered(turn.entry.environment, time.monotonic() - turn.began)
        return result

    def _send(self, identity: str, entry: _Entry, operation: str, *arguments: Any) -> asyncio.Future[Any]:
        entry.used_at = self._clock()
        return entry.worker.ask(operation, identity, *arguments)

    async def _heard(
        self, identity: str, entry: _Entry, answer: asyncio.Future[Any], operation: str = "step"
    ) -> Any:
        try:
            found = await answer
        except HubRefusal as refusal:
            if refusal.status == 410 and (operation == "step" or entry.worker.death is not None):
                self._fault(identity, entry, refusal.code)
            raise
        entry.used_at = self._clock()
        return found

    async def _close(self, identity: str, entry: _Entry) -> None:
        self._forget(identity, entry)
        # Its worker may die meanwhile, or its episode break; the session is gone either way.
        with suppress(HubRefusal):
            await entry.worker.call("close", identity)

    def _fault(self, identity: str, entry: _Entry, code: str) -> None:
        """The session is lost; counted once, however many wait for it."""
        if identity in self._entries:
            self._metrics.session_faulted(entry.environment, code)
            self._forget(identity, entry)

    def _forget(self, identity: str, entry: _Entry) -> None:
        self._entries.pop(identity, None)
        self._left.set()
        entry.worker.sessions.discard(identity)

    def _entry(self, identity: str, owner: str) -> _Entry:
        entry = self._entries.get(identity)
        if entry is None or entry.owner != owner:
            raise HubRefusal(
                "unknown_session", "there is no such session: it was closed, expired, or never was"
            )
        return entry

    def _check_open(self) -> None:
        if self.is_draining:
            raise HubRefusal("hub_draining", "the hub is shutting down and opens no sessions")

    def _check_room(self, pool: WorkerPool) -> None:
        own = pool.limits.max_sessions
        if own and pool.num_sessions >= own:
            raise HubRefusal("hub_full", f"all {own} sessions of {pool.name} are in use (hub.pools)")
        if len(self) >= self._config.max_sessions:
            raise HubRefusal(
                "hub_full", f"all {self._config.max_sessions} sessions are in use (hub.max_sessions)"
            )


async def outcome(play: Awaitable[dict[str, Any]]) -> Outcome:
    """The result, or the refusal as a value."""
    try:
        return await play
    except HubRefusal as refusal:
        return refusal
