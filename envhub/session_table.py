"""Every open session of the hub: where it lives, when it was last used, and one caller at a time.

Sessions end when they are closed, when nobody touches them for `session_ttl_s`, or with their worker.
"""

import asyncio
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from common.trajectory import TaskReference
from envhub.config import HubConfig
from envhub.latency import StepLatency
from envhub.metrics import HubMetrics
from envhub.refusal import HubRefusal
from envhub.workers import Worker, WorkerPool

Clock = Callable[[], float]

_SWEEPS_PER_TTL = 4


@dataclass
class _Entry:
    worker: Worker
    environment: str
    used_at: float
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class SessionTable:
    """Opens, plays and closes sessions on the pool's workers; every refusal is a HubRefusal."""

    def __init__(
        self, config: HubConfig, pool: WorkerPool, metrics: HubMetrics, clock: Clock = time.monotonic
    ) -> None:
        self._config, self._pool, self._metrics, self._clock = config, pool, metrics, clock
        self._latency = StepLatency(config)
        self._entries: dict[str, _Entry] = {}
        self.is_draining = False
        """No new sessions: the hub is about to end."""

    def __len__(self) -> int:
        """Sessions on living workers, those just being opened included."""
        return sum(len(worker.sessions) for worker in self._pool.living)

    async def open(self, task: TaskReference, action_format: str) -> dict[str, Any]:
        """A new session under an unguessable id, with its instructions, observation and horizon."""
        if self.is_draining:
            raise HubRefusal("hub_draining", "the hub is shutting down and opens no sessions")
        worker = await self._pool.least_loaded()
        if len(self) >= self._config.max_sessions:
            raise HubRefusal(
                "hub_full", f"all {self._config.max_sessions} sessions are in use (hub.max_sessions)"
            )
        identity = secrets.token_urlsafe(16)
        worker.sessions.add(identity)
        try:
            opening = await worker.call("create", identity, task.model_dump(), action_format)
        except BaseException:
            worker.sessions.discard(identity)
            raise
        self._entries[identity] = _Entry(worker, task.environment, self._clock())
        self._metrics.session_opened(task.environment)
        return {"session": identity, **opening}

    async def step(self, identity: str, index: int, action: str) -> dict[str, Any]:
        """Play turn `index`, after the configured latency; a repeated turn is answered from memory."""
        entry = self._entry(identity)
        began = time.monotonic()
        async with entry.lock:
            await asyncio.sleep(self._latency.next_s())
            result: dict[str, Any] = await self._ask(identity, entry, "step", index, action)
        self._metrics.step_answered(entry.environment, time.monotonic() - began)
        return result

    async def ask(self, identity: str, operation: str) -> Any:
        """`observation`, `actions` or `render` of a session."""
        return await self._ask(identity, self._entry(identity), operation)

    async def close(self, identity: str) -> None:
        """Forget a session; `unknown_session` when it is not there."""
        await self._close(identity, self._entry(identity))

    async def sweep(self) -> int:
        """Close what nobody has touched for the time to live, and forget what died; how many were closed."""
        oldest = self._clock() - self._config.session_ttl_s
        idle = [
            (identity, entry)
            for identity, entry in self._entries.items()
            if entry.used_at < oldest and not entry.lock.locked()
        ]
        for identity, entry in idle:
            # Its worker may die meanwhile; the session is gone either way.
            with suppress(HubRefusal):
                await self._close(identity, entry)
            self._metrics.session_expired()
        return len(idle)

    async def keep_swept(self) -> None:
        """Sweep for ever, four times per time to live."""
        while True:
            await asyncio.sleep(self._config.session_ttl_s / _SWEEPS_PER_TTL)
            await self.sweep()

    async def _ask(self, identity: str, entry: _Entry, operation: str, *arguments: Any) -> Any:
        entry.used_at = self._clock()
        try:
            answer = await entry.worker.call(operation, identity, *arguments)
        except HubRefusal as refusal:
            if refusal.code == "environment_fault":
                self._forget(identity, entry)
            raise
        entry.used_at = self._clock()
        return answer

    async def _close(self, identity: str, entry: _Entry) -> None:
        self._forget(identity, entry)
        if entry.worker.death is None:
            await entry.worker.call("close", identity)

    def _forget(self, identity: str, entry: _Entry) -> None:
        self._entries.pop(identity, None)
        entry.worker.sessions.discard(identity)

    def _entry(self, identity: str) -> _Entry:
        if identity not in self._entries:
            raise HubRefusal(
                "unknown_session", "there is no such session: it was closed, expired, or never was"
            )
        return self._entries[identity]
