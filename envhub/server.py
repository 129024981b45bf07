"""The hub over HTTP: the `/v1` interface, what describes it, and AgentGym's dialects beside it.

`envhub/endpoints.py` lists what `/v1` offers; `/openapi.json` and `/docs` are made from the same table.
"""

import asyncio
import secrets
import time
from typing import Any, Final

from aiohttp import web

from common.config import validate
from common.errors import ConfigurationError
from common.trajectory import TaskReference
from envhub.agentgym.door import AgentGymDoor
from envhub.bodies import BatchBody, CreateBody, StepBody, TaskQuery
from envhub.config import HubConfig
from envhub.connections import SERVER, Gate
from envhub.doors import (
    admission,
    is_loopback_name,
    no_foreign_pages,
    owner,
    rates,
    structured_errors,
    whole_bodies,
)
from envhub.endpoints import ENDPOINTS
from envhub.metrics import HubMetrics
from envhub.openapi import document
from envhub.page import docs
from envhub.pools import Pools
from envhub.refusal import HubRefusal
from envhub.session_table import Clock, Outcome, SessionTable, Step
from envhub.wire import answer, read_body

SWEEPS_PER_TTL: Final = 4


class HubServer:
    """The application and what it serves from."""

    def __init__(
        self, config: HubConfig, pools: Pools, tokens: tuple[str, ...] = (), clock: Clock = time.monotonic
    ) -> None:
        self.metrics = HubMetrics()
        self.gate = Gate(config, self.metrics)
        self.identity = secrets.token_urlsafe(8)
        """Another one after a restart."""
        self.sessions = SessionTable(config, pools, self.metrics, clock)
        self.pools = pools
        self.url = ""
        """Where it listens; empty before it does."""
        self.own_urls: dict[str, str] = {}
        """Environment -> where it listens alone, of `hub.ports`."""
        self._guards = (
            structured_errors(self.metrics),
            admission(tokens, config),
            rates(config),
            no_foreign_pages(config.cors_origins, is_loopback=is_loopback_name(config.host)),
            whole_bodies(config.body_s),
        )
        self.agentgym = AgentGymDoor(
            self.sessions,
            pools.environments,
            ttl_s=config.session_ttl_s,
            max_ids=config.max_sessions,
            dialects=config.dialects,
            owner=owner,
            clock=clock,
            cors_origins=config.cors_origins,
            refused=self.metrics.refused,
        )
        self.application = web.Application(client_max_size=config.max_body_bytes, middlewares=self._guards)
        for endpoint in ENDPOINTS:
            handler = getattr(self, f"_{endpoint.name}")
            self.application.router.add_route(endpoint.method, endpoint.path, handler)
        self.application.router.add_get("/", self._root)
        self.application.on_response_prepare.append(_name_nothing)
        self.agentgym.add_routes(self.application)
        self._config, self._clock = config, clock

    def alone(self, environment: str) -> web.Application:
        """One environment in its AgentGym dialect at the root, for a port of its own."""
        alone = self.agentgym.application(environment, self._config.max_body_bytes, self._guards)
        alone.on_response_prepare.append(_name_nothing)
        return alone

    async def keep_swept(self) -> None:
        """Close what nobody touches, for ever, several times per time to live."""
        while True:
            await asyncio.sleep(self._config.session_ttl_s / SWEEPS_PER_TTL)
            await self.agentgym.sweep(self._clock())
            await self.sessions.sweep()

    async def _root(self, _: web.Request) -> web.Response:
        raise web.HTTPFound("/docs")

    async def _openapi(self, _: web.Request) -> web.Response:
        return web.json_response(document())

    async def _docs(self, _: web.Request) -> web.Response:
        return docs(self.pools.environments)

    async def _health(self, request: web.Request) -> web.Response:
        return answer(request, {"status": self._status})

    @property
    def _status(self) -> str:
        return "draining" if self.sessions.is_draining else "ok"

    async def _load(self, request: web.Request) -> web.Response:
        load = {
            "status": self._status,
            "hub": self.identity,
            "sessions": len(self.sessions),
            "max_sessions": self._config.max_sessions,
            "workers": len(self.pools.living),
            "environments": self.pools.environments,
        }
        return answer(request, load)

    async def _metrics(self, _: web.Request) -> web.Response:
        text = self.metrics.render(
            sessions=self.pools.num_sessions,
            num_workers=len(self.pools.living),
            lost_workers=self.pools.num_lost,
            num_connections=len(self.gate),
        )
        return web.Response(text=text, headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    async def _environments(self, request: web.Request) -> web.Response:
        return answer(request, {"environments": await self.sessions.environments()})

    async def _describe(self, request: web.Request) -> web.Response:
        return answer(request, await self.sessions.describe(request.match_info["name"]))

    async def _tasks(self, request: web.Request) -> web.Response:
        query = validate(TaskQuery, dict(request.query))
        name = request.match_info["name"]
        rows = await self.sessions.tasks(name, query.split, query.depths, query.limit)
        return answer(request, {"environment": name, "split": query.split, "tasks": rows})

    async def _find_task(self, request: web.Request) -> web.Response:
        return answer(
            request, await self.sessions.find_task(request.match_info["name"], request.match_info["task"])
        )

    async def _indexed(self, request: web.Request) -> web.Response:
        index = _index(request.match_info["index"])
        return answer(request, await self.sessions.indexed(request.match_info["name"], index))

    async def _vocabulary(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        return answer(request, {"environment": name, "vocabulary": await self.sessions.vocabulary(name)})

    async def _open(self, request: web.Request) -> web.Response:
        body = await read_body(request, CreateBody)
        task = TaskReference(environment=body.environment, task=body.task, seed=body.seed)
        return answer(request, await self.sessions.open(task, body.action_format, owner(request)))

    async def _step(self, request: web.Request) -> web.Response:
        body = await read_body(request, StepBody)
        session = request.match_info["session"]
        result = await self.sessions.step(session, body.index, body.action, owner(request), body.is_text)
        return answer(request, result)

    async def _step_many(self, request: web.Request) -> web.Response:
        """Side by side; one refused step says so in its place and harms none of the others."""
        body = await read_body(request, BatchBody)
        steps = [Step(step.session, step.index, step.action, step.is_text) for step in body.steps]
        outcomes = await self.sessions.step_many(steps, owner(request))
        rows = [self._row(step.session, found) for step, found in zip(body.steps, outcomes, strict=True)]
        return answer(request, {"results": rows})

    def _row(self, session: str, outcome: Outcome) -> dict[str, Any]:
        if not isinstance(outcome, HubRefusal):
            return {"session": session, **outcome}
        self.metrics.refused(outcome.code)
        return {"session": session, "error": {"code": outcome.code, "message": outcome.told}}

    async def _observation(self, request: web.Request) -> web.Response:
        return await self._ask(request, "observation")

    async def _actions(self, request: web.Request) -> web.Response:
        return await self._ask(request, "actions")

    async def _render(self, request: web.Request) -> web.Response:
        return await self._ask(request, "render")

    async def _detail(self, request: web.Request) -> web.Response:
        return await self._ask(request, "detail")

    async def _ask(self, request: web.Request, what: str) -> web.Response:
        found = await self.sessions.ask(request.match_info["session"], what, owner(request))
        return answer(request, {what: found})

    async def _picture(self, request: web.Request) -> web.Response:
        png = await self.sessions.ask(request.match_info["session"], "picture", owner(request))
        if not png:
            raise HubRefusal("no_picture", "this environment draws no pictures; /render shows it as text")
        return web.Response(body=png, content_type="image/png")

    async def _close(self, request: web.Request) -> web.Response:
        await self.sessions.close(request.match_info["session"], owner(request))
        return answer(request, {"closed": True})


async def _name_nothing(_: web.Request, response: web.StreamResponse) -> None:
    """Programs and versions are nobody's business."""
    response.headers["Server"] = SERVER


def _index(text: str) -> int:
    """A number of at most 18 digits; ConfigurationError for anything else."""
    if not text.isascii() or not text.removeprefix("-").isdigit() or len(text) > 18:
        raise ConfigurationError(f"index = {text[:40]!r}: not a whole number")
    return int(text)
