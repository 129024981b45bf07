"""An AgentGym door over HTTP for tests, with sessions in this process instead of worker processes."""

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from common.errors import PreflightError
from common.trajectory import TaskReference
from envhub import registry
from envhub.agentgym.door import AgentGymDoor
from envhub.environment import Environment
from envhub.refusal import HubRefusal
from envhub.worker import SessionHost


class InProcessTable:
    """Keeps the contract of the hub's session table; a real `SessionHost` plays, in this process."""

    def __init__(self, max_sessions: int = 1000) -> None:
        self._host = SessionHost()
        self._numbers = itertools.count(1)
        self._max_sessions = max_sessions
        self.owners: dict[str, str] = {}
        """Open sessions."""
        self.refuses_next: HubRefusal | None = None
        """What the next step or question is answered with; its session is lost."""

    def _call(self, operation: str, *arguments: Any) -> Any:
        _, code, answer = self._host.handle([next(self._numbers), operation, arguments])
        if code:
            raise HubRefusal(code, answer)
        return answer

    def _check(self, identity: str, owner: str) -> None:
        if self.owners.get(identity) != owner:
            raise HubRefusal("unknown_session", "no such session")
        if self.refuses_next:
            refusal, self.refuses_next = self.refuses_next, None
            self.owners.pop(identity)
            raise refusal

    async def open(self, task: TaskReference, action_format: str, owner: str = "") -> dict[str, Any]:
        if len(self.owners) >= self._max_sessions:
            raise HubRefusal("hub_full", "all sessions are in use")
        identity = f"session-{next(self._numbers)}"
        opening = self._call("create", identity, task.model_dump(), action_format)
        self.owners[identity] = owner
        return {"session": identity, **opening}

    async def step(self, identity: str, index: int, action: str, owner: str = "") -> dict[str, Any]:
        self._check(identity, owner)
        result: dict[str, Any] = self._call("step", identity, index, action)
        return result

    async def ask(self, identity: str, operation: str, owner: str = "") -> Any:
        self._check(identity, owner)
        return self._call(operation, identity)

    async def close(self, identity: str, owner: str = "") -> None:
        if self.owners.pop(identity, None) is None:
            raise HubRefusal("unknown_session", "no such session")
        self._call("close", identity)

    async def indexed(self, environment: str, index: int) -> dict[str, Any]:
        task: dict[str, Any] = self._call("indexed", environment, index)
        return task

    async def find_task(self, environment: str, name: str) -> dict[str, Any]:
        task: dict[str, Any] = self._call("find_task", environment, name)
        return task


class ManualClock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Served:
    """A door that listens."""

    def __init__(self, door: AgentGymDoor, table: InProcessTable, url: str) -> None:
        self.door, self.table, self.url = door, table, url


@asynccontextmanager
async def listening(application: web.Application) -> AsyncIterator[str]:
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def served(
    *environments: str,
    max_sessions: int = 1000,
    max_body_bytes: int = 1 << 20,
    own_port: bool = False,
    **more: Any,
) -> AsyncIterator[Served]:
    table = InProcessTable(max_sessions)
    settings = {"ttl_s": 60.0, "max_ids": 1000, **more}
    door = AgentGymDoor(table, environments, **settings)
    if own_port:
        application = door.application(environments[0], max_body_bytes)
    else:
        application = web.Application(client_max_size=max_body_bytes)
        door.add_routes(application)
    async with listening(application) as url:
        yield Served(door, table, url)


def world(name: str) -> Environment:
    """The environment, or a skipped test where what backs it is missing."""
    try:
        return registry.environment(name)
    except PreflightError as error:
        pytest.skip(str(error))
