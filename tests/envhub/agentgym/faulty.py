"""`FaultyServer`: an AgentGym server that does one thing wrong, as the originals are known to."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from aiohttp import web

from envhub.agentgym.backend import AgentGymBackend
from envhub.environment import StepResult
from tests.envhub.agentgym.serving import listening

GOOD: Final[Mapping[str, Any]] = {
    "create": {"id": 7},
    "reset": {"observation": "You see a door.", "available_actions": ["look", "sing a song"]},
    "step": {"observation": "It opens.", "reward": 0, "done": False},
    "observation": "You see a door.",
    "close": True,
}
STEP: Final[Mapping[str, Any]] = GOOD["step"]
SILENT: Final = object()
"""No answer at all."""


@dataclass
class FaultyServer:
    """Answers `GOOD` but for the path that is wrong: with a status, with a body, or not at all."""

    replies: Mapping[str, Any] = field(default_factory=dict)
    statuses: Mapping[str, int] = field(default_factory=dict)
    raw: Mapping[str, bytes] = field(default_factory=dict)
    """Bodies that are sent as they are."""
    asked: list[tuple[str, Any]] = field(default_factory=list)
    """What clients asked, in order."""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        path = request.path.strip("/")
        self.asked.append((path, await request.json() if request.can_read_body else None))
        reply = self.replies.get(path, GOOD.get(path))
        if reply is SILENT:
            await asyncio.Event().wait()
        status = self.statuses.get(path, 200)
        if path in self.raw:
            return web.Response(body=self.raw[path], status=status)
        return web.json_response(reply, status=status)


@asynccontextmanager
async def faulty(**wrong: Any) -> AsyncIterator[tuple[FaultyServer, str]]:
    """A server that listens, and its URL."""
    server = FaultyServer(**wrong)
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", server.answer)
    async with listening(application) as url:
        yield server, url


class HastyBackend(AgentGymBackend):
    """Gives up soon."""

    deadline_s = 0.2


def begin_and_step(
    spec: str, action: str = "open door", kind: type[AgentGymBackend] = AgentGymBackend
) -> StepResult:
    """One step of task 3, and goodbye."""
    environment = kind(spec)
    episode = environment.reset(environment.indexed(3).name, 0)
    try:
        return episode.step(action)
    finally:
        episode.close()
