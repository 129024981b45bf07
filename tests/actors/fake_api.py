"""A chat server for tests: real HTTP, real faults, answers as it is told."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer

Handler = Callable[[dict[str, Any]], web.StreamResponse]


def completion(text: str | None, *, finish: str = "stop", usage: Any = (10, 3)) -> web.Response:
    """An answer as a server gives it."""
    body: dict[str, Any] = {"choices": [{"message": {"content": text}, "finish_reason": finish}]}
    if usage is not None:
        body["usage"] = {"prompt_tokens": usage[0], "completion_tokens": usage[1]}
    return web.json_response(body)


def refusal(status: int, message: str = "no", code: str = "", **headers: str) -> web.Response:
    """A refusal as a server gives it."""
    return web.json_response(
        {"error": {"message": message, "code": code}},
        status=status,
        headers={name.replace("_", "-"): value for name, value in headers.items()},
    )


def garbage(body: bytes = b'{"choices": [{"mess', status: int = 200) -> web.Response:
    """An answer that is no JSON."""
    return web.Response(body=body, status=status, content_type="application/json")


@dataclass
class FakeApi:
    """Gives `plan` in order, then what `policy` says to the conversation; remembers what it was asked."""

    policy: Callable[[list[dict[str, str]]], str] = lambda messages: "Action: done"
    plan: list[Callable[[], web.Response] | str] = field(default_factory=list)
    """Next answers; `"cut"` closes the connection amid one, `"hang"` gives none at all."""
    requests: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    released: asyncio.Event = field(default_factory=asyncio.Event)

    async def __aenter__(self) -> str:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", self._answer)
        self._server = TestServer(app)
        await self._server.start_server()
        return f"http://{self._server.host}:{self._server.port}/v1"

    async def __aexit__(self, *_: object) -> None:
        self.released.set()
        await self._server.close()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = json.loads(await request.text())
        self.requests.append(body)
        self.keys.append(request.headers.get("Authorization", ""))
        planned = self.plan.pop(0) if self.plan else None
        if planned == "hang":
            await self.released.wait()
        if planned == "cut":
            return await _cut(request)
        return planned() if callable(planned) else completion(self.policy(body["messages"]))


async def _cut(request: web.Request) -> web.StreamResponse:
    """A body that promises more than it holds."""
    response = web.StreamResponse(headers={"Content-Length": "1000"})
    await response.prepare(request)
    await response.write(b'{"choices": [')
    assert request.transport is not None
    request.transport.close()
    return response
