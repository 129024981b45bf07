"""Every open session of the hub: where it lives, whose it is, when it was used; one caller at a time.

Sessions end when they are closed, when nobody touches them for `session_ttl_s`, or with their worker.
"""

import asyncio
import secrets
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from common.errors import ConfigurationError
from common.trajectory import TaskReference
from envhub import registry
from envhub.config import HubConfig
from envhub.latency import StepLatency
from envhub.metrics import HubMetrics
from envhub.pools import CATALOGUE, Pools, WorkerPool
from envhub.refusal import HubRefusal
from envhub.workers import Worker

Clock = Callable[[], float]


@dataclass
class _Entry:
    worker: Worker
    environment: str
    owner: str
    used_at: float
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class SessionTable:
    """Opens, plays and closes sessions on the workers of their environments; every refusal is a HubRefusal.

    `owner` is whoever a call is made for, empty where nobody is told apart; to it the sessions of others do
    not exist.
    """

    def __init__(
        self, config: HubConfig, pools: Pools, metrics: HubMetrics, clock: Clock = time.monotonic
    ) -> None:
        self._config, self._pools, self._metrics, self._clock = config, pools, metrics, clock
        self._latency = StepLatency(config)
        self._entries: dict[str, _Entry] = {}
        self.is_draining = False
        """No new sessions: the hub is about to end."""

    def __len__(self) -> int:
        """Sessions on living workers, those just being opened included."""
        return sum(self._pools.num_sessions.values())

    async def environments(self) -> list[dict[str, Any]]:
        """What is served, and of what is not available the reason."""
        worker = await self._pools[CATALOGUE].least_loaded()
        rows: list[dict[str, Any]] = await worker.call("environments", self._specs(self._pools.environments))
        return [{**row, "name": name} for name, row in zip(self._pools.environments, rows, strict=True)]

    async def describe(self, environment: str) -> dict[str, Any]:
        """One environment; `environment_unavailable` with the reason when it cannot be played here."""
        row: dict[str, Any] = await self._ask_any(environment, "describe")
        if not row["is_available"]:
            raise HubRefusal("environment_unavailable", row["reason"])
        return {**row, "name": environment}

    async def tasks(
        self, environment: str, split: str, depths: Iterable[int], limit: int
    ) -> list[dict[str, Any]]:
        """The first `limit` tasks of the given depths; empty and 0 mean all."""
        rows: list[dict[str, Any]] = await self._ask_any(environment, "tasks", split, list(depths), limit)
        return rows

    async def find_task(self, environment: str, name: str) -> dict[str, Any]:
        """The task of that name, or AgentGym's id, with its canonical name."""
        row: dict[str, Any] = await self._ask_any(environment, "find_task", name)
        return row

    async def indexed(self, environment: str, index: int) -> dict[str, Any]:
        """The task that AgentGym's `data_idx` means."""
        row: dict[str, Any] = await self._ask_any(environment, "indexed", index)
        return row

    async def vocabulary(self, environment: str) -> list[str]:
        """Every word of the environment."""
        words: list[str] = await self._ask_any(environment, "vocabulary")
        return words

    async def open(self, task: TaskReference, action_format: str, owner: str = "") -> dict[str, Any]:
        """A new session under an unguessable id, with its instructions, observation and horizon."""
        if self.is_draining:
            raise HubRefusal("hub_draining", "the hub is shutting down and opens no sessions")
        pool = self._pool(task.environment)
        worker = await pool.least_loaded()
        self._check_room(pool)
        identity = secrets.token_urlsafe(16)
        worker.sessions.add(identity)
        spec = task.model_copy(update={"environment": self._config.spec(task.environment)})
        try:
            opening = await worker.call("create", identity, spec.model_dump(), action_format)
        except BaseException:
            worker.sessions.discard(identity)
            raise
        self._entries[identity] = _Entry(worker, task.environment, owner, self._clock())
        self._metrics.session_opened(task.environment)
        return {"session": identity, **opening}

    async def step(self, identity: str, index: int, action: str, owner: str = "") -> dict[str, Any]:
        """Play turn `index`, after the configured latency; a repeated turn is answered from memory."""
        entry = self._entry(identity, owner)
        began = time.monotonic()
        async with entry.lock:
            if wait_s := self._latency.next_s():
                await asyncio.sleep(wait_s)
            result: dict[str, Any] = await self._ask(identity, entry, "step", index, action)
        self._metrics.step_answered(entry.environment, time.monotonic() - began)
        return result

    async def ask(self, identity: str, operation: str, owner: str = "") -> Any:
        """`observation`, `actions`, `render`, `picture` or `detail` of a session."""
        return await self._ask(identity, self._entry(identity, owner), operation)

    async def close(self, identity: str, owner: str = "") -> None:
        """Forget a session; `unknown_session` when it is not there."""
        await self._close(identity, self._entry(identity, owner))

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
            self._metrics.session_expired(entry.environment)
        return len(idle)

    async def _ask(self, identity: str, entry: _Entry, operation: str, *arguments: Any) -> Any:
        entry.used_at = self._clock()
        try:
            answer = await entry.worker.call(operation, identity, *arguments)
        except HubRefusal as refusal:
            if refusal.status == 410:
                self._metrics.session_faulted(entry.environment, refusal.code)
                self._forget(identity, entry)
            raise
        entry.used_at = self._clock()
        return answer

    async def _ask_any(self, environment: str, operation: str, *arguments: Any) -> Any:
        worker = await self._pool(environment).least_loaded()
        return await worker.call(operation, self._config.spec(environment), *arguments)

    async def _close(self, identity: str, entry: _Entry) -> None:
        self._forget(identity, entry)
        if entry.worker.death is None:
            await entry.worker.call("close", identity)

    def _forget(self, identity: str, entry: _Entry) -> None:
        self._entries.pop(identity, None)
        entry.worker.sessions.discard(identity)

    def _entry(self, identity: str, owner: str) -> _Entry:
        entry = self._entries.get(identity)
        if entry is None or entry.owner != owner:
            raise HubRefusal(
                "unknown_session", "there is no such session: it was closed, expired, or never was"
            )
        return entry

    def _pool(self, environment: str) -> WorkerPool:
        if environment in self._pools:
            return self._pools[environment]
        try:
            registry.check_name(environment)
        except ConfigurationError as error:
            raise HubRefusal("unknown_environment", str(error)) from error
        served = ", ".join(self._pools.environments)
        raise HubRefusal(
            "unknown_environment", f"environment = {environment[:80]!r}: not served here; there are {served}"
        )

    def _check_room(self, pool: WorkerPool) -> None:
        own = pool.config.max_sessions
        if own and pool.num_sessions >= own:
            raise HubRefusal("hub_full", f"all {own} sessions of {pool.name} are in use (hub.pools)")
        if len(self) >= self._config.max_sessions:
            raise HubRefusal(
                "hub_full", f"all {self._config.max_sessions} sessions are in use (hub.max_sessions)"
            )

    def _specs(self, environments: Iterable[str]) -> list[str]:
        return [self._config.spec(name) for name in environments]
