"""The hub over HTTP: one aiohttp application, JSON in and out, errors as `{"error": {"code", "message"}}`.

GET    /v1/environments                     what there is
GET    /v1/environments/{name}/tasks        ?split=train|test &depths=1,2 &limit=100
GET    /v1/environments/{name}/vocabulary   every word it can say
POST   /v1/sessions                         {environment, task, seed, action_format}
POST   /v1/sessions/{id}/step               {index, action}
POST   /v1/step                             {steps: [{session, index, action}, ...]}
GET    /v1/sessions/{id}/observation | actions | render
DELETE /v1/sessions/{id}
GET    /healthz, /metrics
"""

import asyncio
import ipaddress
import json
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from aiohttp import web
from pydantic import BaseModel

from common.aio import background
from common.config import validate
from common.errors import ConfigurationError, PreflightError
from common.trajectory import TaskReference
from envhub.bodies import BatchBody, BatchStep, CreateBody, StepBody, TaskQuery
from envhub.config import TOKEN_VARIABLE, HubConfig
from envhub.doors import admission, structured_errors
from envhub.metrics import HubMetrics
from envhub.refusal import HubRefusal
from envhub.session_table import Clock, SessionTable
from envhub.workers import WorkerPool, worker_pool

DRAIN_S = 10.0
"""Requests in flight may take this long to finish when the hub ends."""

BodyT = TypeVar("BodyT", bound=BaseModel)


class HubServer:
    """The application and what it serves from."""

    def __init__(
        self, config: HubConfig, pool: WorkerPool, token: str = "", clock: Clock = time.monotonic
    ) -> None:
        self.metrics = HubMetrics()
        self.sessions = SessionTable(config, pool, self.metrics, clock)
        self.pool = pool
        self.url = ""
        """Where it listens; empty before it does."""
        self.application = web.Application(
            client_max_size=config.max_body_bytes,
            middlewares=[structured_errors(self.metrics), admission(token)],
        )
        self.application.add_routes(
            [
                web.get("/healthz", self._health),
                web.get("/metrics", self._metrics),
                web.get("/v1/environments", self._environments),
                web.get("/v1/environments/{name}/tasks", self._tasks),
                web.get("/v1/environments/{name}/vocabulary", self._vocabulary),
                web.post("/v1/sessions", self._open),
                web.post("/v1/sessions/{session}/step", self._step),
                web.post("/v1/step", self._steps),
                web.get("/v1/sessions/{session}/{what:observation|actions|render}", self._ask),
                web.delete("/v1/sessions/{session}", self._close),
            ]
        )

    async def _health(self, _: web.Request) -> web.Response:
        status = "draining" if self.sessions.is_draining else "ok"
        return web.json_response(
            {"status": status, "sessions": len(self.sessions), "workers": len(self.pool.living)}
        )

    async def _metrics(self, _: web.Request) -> web.Response:
        text = self.metrics.render(
            num_sessions=len(self.sessions),
            num_workers=len(self.pool.living),
            num_lost_workers=self.pool.num_lost,
        )
        return web.Response(text=text, headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    async def _environments(self, _: web.Request) -> web.Response:
        return web.json_response({"environments": await self._ask_any("environments")})

    async def _tasks(self, request: web.Request) -> web.Response:
        values: dict[str, Any] = dict(request.query)
        values["depths"] = [part for part in request.query.get("depths", "").split(",") if part]
        query = validate(TaskQuery, values)
        name = request.match_info["name"]
        rows = await self._ask_any("tasks", name, query.split, query.depths, query.limit)
        return web.json_response({"environment": name, "split": query.split, "tasks": rows})

    async def _vocabulary(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        return web.json_response({"environment": name, "vocabulary": await self._ask_any("vocabulary", name)})

    async def _open(self, request: web.Request) -> web.Response:
        body = await _body(CreateBody, request)
        task = TaskReference(environment=body.environment, task=body.task, seed=body.seed)
        return web.json_response(await self.sessions.open(task, body.action_format))

    async def _step(self, request: web.Request) -> web.Response:
        body = await _body(StepBody, request)
        return web.json_response(
            await self.sessions.step(request.match_info["session"], body.index, body.action)
        )

    async def _steps(self, request: web.Request) -> web.Response:
        """Side by side; one refused step says so in its place and harms none of the others."""
        body = await _body(BatchBody, request)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._one_of_many(step)) for step in body.steps]
        return web.json_response({"results": [task.result() for task in tasks]})

    async def _one_of_many(self, step: BatchStep) -> dict[str, Any]:
        try:
            return {
                "session": step.session,
                **await self.sessions.step(step.session, step.index, step.action),
            }
        except HubRefusal as refusal:
            self.metrics.refused(refusal.code)
            return {"session": step.session, "error": {"code": refusal.code, "message": refusal.message}}

    async def _ask(self, request: web.Request) -> web.Response:
        what = request.match_info["what"]
        return web.json_response({what: await self.sessions.ask(request.match_info["session"], what)})

    async def _close(self, request: web.Request) -> web.Response:
        await self.sessions.close(request.match_info["session"])
        return web.json_response({"closed": True})

    async def _ask_any(self, operation: str, *arguments: Any) -> Any:
        worker = await self.pool.least_loaded()
        return await worker.call(operation, *arguments)


async def _body(kind: type[BodyT], request: web.Request) -> BodyT:
    """The validated JSON body; ConfigurationError with one line when it is not one."""
    try:
        values = json.loads(await request.read())
    except (ValueError, RecursionError) as error:
        raise ConfigurationError("the body is not JSON") from error
    if not isinstance(values, dict):
        raise ConfigurationError("the body is not a JSON object")
    return validate(kind, values)


@asynccontextmanager
async def serving(
    config: HubConfig, token: str = "", clock: Clock = time.monotonic
) -> AsyncIterator[HubServer]:
    """A hub that listens while the body runs; then it opens no sessions and lets requests in flight finish.

    ConfigurationError when it would listen beyond this machine without a token; PreflightError when the
    port is taken or a worker cannot start.
    """
    if not token and not _is_loopback(config.host):
        raise ConfigurationError(
            f"hub.host = {config.host!r}: beyond this machine the hub needs a token; set {TOKEN_VARIABLE}"
        )
    async with worker_pool(config) as pool:
        server = HubServer(config, pool, token, clock)
        runner = web.AppRunner(server.application, access_log=None, shutdown_timeout=DRAIN_S)
        await runner.setup()
        try:
            server.url = await _listen(runner, config)
            async with background(server.sessions.keep_swept()):
                yield server
        finally:
            server.sessions.is_draining = True
            await runner.cleanup()


async def _listen(runner: web.AppRunner, config: HubConfig) -> str:
    try:
        await web.TCPSite(runner, config.host, config.port).start()
    except OSError as error:
        # asyncio wraps the system's own words; name resolution has negative numbers and words of its own.
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
        raise PreflightError(
            f"hub.host = {config.host!r}, hub.port = {config.port}: cannot listen there: {reason}"
        ) from error
    host = f"[{config.host}]" if ":" in config.host else config.host
    return f"http://{host}:{runner.addresses[0][1]}"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
