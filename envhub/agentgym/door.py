"""The door for AgentGym's clients: every environment of the hub under its name, in its dialect, unmodified.

    /textcraft/create  /textcraft/reset  /textcraft/step  ...      and so for every environment
    /lmrlgym/maze/...  /lmrlgym/wordle/...                         the same maze and Wordle

Mistakes are answered with status 200 and every key that the operation's clients read. Other statuses are
for what these clients take as `try again` or never ask: 503 for a create that the hub has no room for, 404
and 405 for paths and methods that the dialect does not have.
"""

import json
import re
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any, Final

from aiohttp import web
from aiohttp.typedefs import Middleware

from envhub.agentgym.dialect import Dialect, Operation
from envhub.agentgym.dialects import dialect_of
from envhub.agentgym.plays import Play, Plays, Sessions
from envhub.agentgym.requests import read_action, read_first_task, read_id, read_task, read_values
from envhub.agentgym.view import View
from envhub.refusal import RETRY_AFTER_S, HubRefusal

Owner = Callable[[web.Request], str]
_POST_ONLY: Final = ("create", "reset", "step", "close")


def nobody(_: web.Request) -> str:
    """The owner of every request where callers are not told apart."""
    return ""


def nothing(_: str) -> None:
    """Done with the code of a refusal that nobody counts."""


def mount(environment: str) -> str:
    """The path under which an environment is served: its name, or what of it can stand in a path."""
    return re.sub(r"[^A-Za-z0-9]+", "_", environment).strip("_")


class AgentGymDoor:
    """AgentGym's dialects of `environments` before the hub's session table.

        door = AgentGymDoor(sessions, ["textcraft", "maze"], ttl_s=600, max_ids=1024, owner=owner)
        door.add_routes(application)                    # /textcraft/..., /maze/..., /lmrlgym/maze/...
        alone = door.application("maze", 1 << 20)       # the maze at the root, for a port of its own
        await door.sweep(now)                           # several times per time to live

    `dialects` says for an environment which dialect it speaks, where that is not its own. Pages of the
    origins in `cors_origins` (`*`: of all) may read the replies. `refused` is told the code of every mistake.
    """

    def __init__(
        self,
        sessions: Sessions,
        environments: Iterable[str],
        *,
        ttl_s: float,
        max_ids: int,
        dialects: Mapping[str, str] | None = None,
        owner: Owner = nobody,
        clock: Callable[[], float] = time.monotonic,
        cors_origins: Iterable[str] = (),
        refused: Callable[[str], None] = nothing,
    ) -> None:
        asked = dialects or {}
        self.dialects: Mapping[str, Dialect] = {
            name: dialect_of(name, asked.get(name, "")) for name in environments
        }
        self.plays = Plays(sessions, ttl_s, max_ids, clock)
        self._owner, self._refused = owner, refused
        self._cors_origins = frozenset(cors_origins)

    async def sweep(self, now: float) -> int:
        """Close the ids that nobody has touched for the time to live; how many they were."""
        return await self.plays.sweep(now)

    def add_routes(self, application: web.Application) -> None:
        """Serve every environment below its name; further slashes anywhere in a path change nothing."""
        for environment, dialect in self.dialects.items():
            own, handler = mount(environment), self._handler(environment)
            for place in ((own,), *((prefix, own) for prefix in dialect.prefixes)):
                # The first is found by its fixed part; the second is tried for what nothing else fits.
                application.router.add_route("*", f"/{'/'.join(place)}/{{rest:.*}}", handler)
                path = f"/{{start:/*{'/+'.join(place)}}}{{rest:(/.*)?}}"
                application.router.add_route("*", path, handler)

    def application(
        self, environment: str, max_body_bytes: int, middlewares: Iterable[Middleware] = ()
    ) -> web.Application:
        """One environment at the root, and below its name as well: what AgentGym's own server would be."""
        alone = web.Application(client_max_size=max_body_bytes, middlewares=middlewares)
        alone.router.add_route("*", "/{rest:.*}", self._handler(environment))
        return alone

    def _handler(self, environment: str) -> Callable[[web.Request], Any]:
        async def handle(request: web.Request) -> web.Response:
            response = await self._respond(request, environment)
            origin = request.headers.get("Origin", "")
            if origin and self._cors_origins & {origin, "*"}:
                response.headers["Access-Control-Allow-Origin"] = origin
                response.headers["Vary"] = "Origin"
            return response

        return handle

    async def _respond(self, request: web.Request, environment: str) -> web.Response:
        if request.method == "OPTIONS":
            return _preflight()
        dialect = self.dialects[environment]
        name = _operation_name(request.match_info["rest"], environment, dialect)
        operation = dialect.operations.get(name)
        if operation is None:
            known = ", ".join(sorted(filter(None, dialect.operations)))
            return _json({"error": f"no such path; there are {known}"}, status=404)
        if operation.verb in _POST_ONLY and request.method != "POST":
            return _json({"error": f"{name}: the method is POST"}, status=405, headers={"Allow": "POST"})
        return await self._answer(request, environment, operation)

    async def _answer(self, request: web.Request, environment: str, operation: Operation) -> web.Response:
        """The operation's reply, or its reply to a mistake."""
        owner = self._owner(request)
        view = View(environment=environment)
        try:
            values = await read_values(request)
            if operation.verb == "create":
                view = await self._create(environment, owner, values)
            elif operation.verb == "greet":
                view = replace(view, ids=self.plays.ids(environment, owner))
            else:
                identity = read_id(values, self.dialects[environment].id_keys)
                view = replace(view, id=identity)
                play = self.plays.find(identity, environment, owner)
                # What a mistake leaves standing: the score, and whether it is over.
                view = replace(play.view, reward=0.0)
                view = await self._played(play, operation, values)
        except HubRefusal as refusal:
            self._refused(refusal.code)
            if operation.verb == "create" and refusal.status == 503:
                return _json(_mistake(operation, view, refusal), 503, {"Retry-After": str(RETRY_AFTER_S)})
            return _json(_mistake(operation, view, refusal))
        return _json(operation.answer(view))

    async def _create(self, environment: str, owner: str, values: Mapping[str, Any]) -> View:
        if not self.dialects[environment].opens_at_create:
            return self.plays.create(environment, owner).view
        task = await self.plays.task(environment, read_first_task(values))
        play = self.plays.create(environment, owner)
        async with AsyncExitStack() as undo:
            undo.push_async_callback(self.plays.close, play)
            view = await self.plays.reset(play, task)
            undo.pop_all()
        return view

    async def _played(self, play: Play, operation: Operation, values: Mapping[str, Any]) -> View:
        dialect = self.dialects[play.view.environment]
        match operation.verb:
            case "reset":
                wanted = read_task(values, dialect.task_keys, dialect.default_task)
                task = await self.plays.task(play.view.environment, wanted)
                return await self.plays.reset(play, task, operation.asks)
            case "step":
                action = read_action(values)
                return await self.plays.step(play, action, dialect.reward, operation.asks)
            case "close":
                await self.plays.close(play)
                return replace(play.view, is_closed=True)
            case "preview":
                return await self.plays.preview(play, operation.asks)
        return await self.plays.look(play, operation.asks)


def _operation_name(rest: str, environment: str, dialect: Dialect) -> str:
    """What is left of a path without slashes, and without the environment's own name in front."""
    parts = [part for part in rest.split("/") if part]
    for lead in ((mount(environment),), *((prefix, mount(environment)) for prefix in dialect.prefixes)):
        if tuple(parts[: len(lead)]) == lead and "/".join(parts) not in dialect.operations:
            parts = parts[len(lead) :]
            break
    return "/".join(parts)


def _mistake(operation: Operation, view: View, refusal: HubRefusal) -> Any:
    """The operation's own form, with the message where the text would be."""
    told = refusal.told
    shown = replace(view, observation=told, opening=told, reward=0.0, error=told)
    return operation.answer(shown)


def _preflight() -> web.Response:
    """What a browser asks before it lets a page of another origin send JSON."""
    return web.Response(
        headers={
            "Access-Control-Allow-Methods": "GET, POST, OPTIONS",
            "Access-Control-Allow-Headers": "Content-Type, Authorization",
        }
    )


def _json(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """Plain JSON, whatever the request accepts; text that is none, such as half a pair, stays escaped."""
    return web.Response(
        body=json.dumps(value).encode(), status=status, headers=headers, content_type="application/json"
    )
