"""The hub over HTTP: the `/v1` interface, what describes it, and AgentGym's dialects beside it.

`envhub/endpoints.py` lists what `/v1` offers; `/openapi.json` and `/docs` are made from the same table.
"""

import asyncio
import json
import time
from typing import Any, TypeVar

from aiohttp import web
from pydantic import BaseModel

from common.config import validate
from common.errors import ConfigurationError
from common.trajectory import TaskReference
from envhub.bodies import BatchBody, BatchStep, CreateBody, StepBody, TaskQuery
from envhub.config import HubConfig
from envhub.doors import admission, no_foreign_pages, owner, structured_errors
from envhub.metrics import HubMetrics
from envhub.pools import Pools
from envhub.refusal import HubRefusal
from envhub.session_table import Clock, SessionTable

BodyT = TypeVar("BodyT", bound=BaseModel)


class HubServer:
    """The application and what it serves from."""

    def __init__(
        self, config: HubConfig, pools: Pools, tokens: tuple[str, ...] = (), clock: Clock = time.monotonic
    ) -> None:
        self.metrics = HubMetrics()
        self.sessions = SessionTable(config, pools, self.metrics, clock)
        self.pools = pools
        self.url = ""
        """Where it listens; empty before it does."""
        self.application = web.Application(
            client_max_size=config.max_body_bytes,
            middlewares=[
                structured_errors(self.metrics),
                admission(tokens),
                no_foreign_pages(config.cors_origins),
            ],
        )
        self.application.add_routes(
            [
                web.get("/healthz", self._health),
                web.get("/metrics", self._metrics),
                web.get("/v1/environments", self._environments),
                web.get("/v1/environments/{name}", self._describe),
                web.get("/v1/environments/{name}/tasks", self._tasks),
                web.get("/v1/environments/{name}/tasks/{task}", self._find_task),
                web.get("/v1/environments/{name}/indexed/{index}", self._indexed),
                web.get("/v1/environments/{name}/vocabulary", self._vocabulary),
                web.post("/v1/sessions", self._open),
                web.post("/v1/sessions/{session}/step", self._step),
                web.post("/v1/step", self._steps),
                web.get("/v1/sessions/{session}/{what:observation|actions|render|detail}", self._ask),
                web.get("/v1/sessions/{session}/picture", self._picture),
                web.delete("/v1/sessions/{session}", self._close),
            ]
        )

    async def _health(self, _: web.Request) -> web.Response:
        status = "draining" if self.sessions.is_draining else "ok"
        return web.json_response(
            {"status": status, "sessions": len(self.sessions), "workers": len(self.pools.living)}
        )

    async def _metrics(self, _: web.Request) -> web.Response:
        text = self.metrics.render(
            sessions=self.pools.num_sessions,
            num_workers=len(self.pools.living),
            lost_workers=self.pools.num_lost,
        )
        return web.Response(text=text, headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    async def _environments(self, _: web.Request) -> web.Response:
        return web.json_response({"environments": await self.sessions.environments()})

    async def _describe(self, request: web.Request) -> web.Response:
        return web.json_response(await self.sessions.describe(request.match_info["name"]))

    async def _tasks(self, request: web.Request) -> web.Response:
        values: dict[str, Any] = dict(request.query)
        values["depths"] = [part for part in request.query.get("depths", "").split(",") if part]
        query = validate(TaskQuery, values)
        name = request.match_info["name"]
        rows = await self.sessions.tasks(name, query.split, query.depths, query.limit)
        return web.json_response({"environment": name, "split": query.split, "tasks": rows})

    async def _find_task(self, request: web.Request) -> web.Response:
        return web.json_response(
            await self.sessions.find_task(request.match_info["name"], request.match_info["task"])
        )

    async def _indexed(self, request: web.Request) -> web.Response:
        index = _index(request.match_info["index"])
        return web.json_response(await self.sessions.indexed(request.match_info["name"], index))

    async def _vocabulary(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        return web.json_response({"environment": name, "vocabulary": await self.sessions.vocabulary(name)})

    async def _open(self, request: web.Request) -> web.Response:
        body = await _body(CreateBody, request)
        task = TaskReference(environment=body.environment, task=body.task, seed=body.seed)
        return web.json_response(await self.sessions.open(task, body.action_format, owner(request)))

    async def _step(self, request: web.Request) -> web.Response:
        body = await _body(StepBody, request)
        session = request.match_info["session"]
        return web.json_response(await self.sessions.step(session, body.index, body.action, owner(request)))

    async def _steps(self, request: web.Request) -> web.Response:
        """Side by side; one refused step says so in its place and harms none of the others."""
        body = await _body(BatchBody, request)
        whose = owner(request)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._one_of_many(step, whose)) for step in body.steps]
        return web.json_response({"results": [task.result() for task in tasks]})

    async def _one_of_many(self, step: BatchStep, whose: str) -> dict[str, Any]:
        try:
            result = await self.sessions.step(step.session, step.index, step.action, whose)
        except HubRefusal as refusal:
            self.metrics.refused(refusal.code)
            return {"session": step.session, "error": {"code": refusal.code, "message": refusal.message}}
        return {"session": step.session, **result}

    async def _ask(self, request: web.Request) -> web.Response:
        what = request.match_info["what"]
        found = await self.sessions.ask(request.match_info["session"], what, owner(request))
        return web.json_response({what: found})

    async def _picture(self, request: web.Request) -> web.Response:
        png = await self.sessions.ask(request.match_info["session"], "picture", owner(request))
        if not png:
            raise HubRefusal("no_picture", "this environment draws no pictures; /render shows it as text")
        return web.Response(body=png, content_type="image/png")

    async def _close(self, request: web.Request) -> web.Response:
        await self.sessions.close(request.match_info["session"], owner(request))
        return web.json_response({"closed": True})


def _index(text: str) -> int:
    """A number of at most 18 digits; ConfigurationError for anything else."""
    if not text.isascii() or not text.removeprefix("-").isdigit() or len(text) > 18:
        raise ConfigurationError(f"index = {text[:40]!r}: not a whole number")
    return int(text)


async def _body(kind: type[BodyT], request: web.Request) -> BodyT:
    """The validated JSON body; ConfigurationError with one line when it is not one."""
    if request.content_type != "application/json":
        raise ConfigurationError("Content-Type: allowed is application/json")
    try:
        values = json.loads(await request.read())
    except (ValueError, RecursionError) as error:
        raise ConfigurationError("the body is not JSON") from error
    if not isinstance(values, dict):
        raise ConfigurationError("the body is not a JSON object")
    return validate(kind, values)
