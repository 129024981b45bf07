"""A server that is none, or ends in the middle: a fault of one line, and nothing stays open."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from aiohttp import web

from common.errors import EnvironmentFault, PreflightError
from envhub import registry
from envhub.adapters.openenv_links import CLOSE_DEADLINE_S, ServerLink
from envhub.adapters.private_loop import PrivateLoop

ENDS, SILENT = "ends", "silent"
Serve = Callable[..., str]


def application(frame: str, schema: Any) -> web.Application:
    """It answers each frame with `frame`, not at all, or ends the connection."""

    async def play(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for _ in socket:
            if frame == ENDS:
                break
            if frame == SILENT:
                await asyncio.get_running_loop().create_future()
            await socket.send_str(frame)
        await socket.close()
        return socket

    def told(value: Any) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def tell(_: web.Request) -> web.Response:
            return web.json_response(value)

        return tell

    app = web.Application()
    app.router.add_get("/ws", play)
    app.router.add_get("/schema", told(schema))
    app.router.add_get("/metadata", told({}))
    return app


@pytest.fixture
def serve() -> Iterator[Serve]:
    """A function that serves such an application and gives its URL."""
    loop, runners = PrivateLoop(), []

    async def start(frame: str, schema: Any) -> str:
        runner = web.AppRunner(application(frame, schema), shutdown_timeout=1.0)
        runners.append(runner)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{runner.addresses[0][1]}"

    yield lambda frame, schema=None: loop.run(start(frame, schema))
    for runner in runners:
        loop.run(runner.cleanup())
    loop.close()


@pytest.mark.parametrize(
    "frame", [ENDS, "[]", "null", "3", "nonsense", '{"data": 3}', '{"type": "error", "data": []}']
)
def test_a_server_that_answers_otherwise_is_a_fault_of_one_line(serve: Serve, frame: str) -> None:
    url = serve(frame)
    threads = threading.active_count()
    link = ServerLink(url, 5.0)
    for play in (lambda: link.reset(1, "seed-000001"), lambda: link.step({"message": "hello"})):
        with pytest.raises(EnvironmentFault) as fault:
            play()
        assert len(str(fault.value).splitlines()) == 1
    link.close()
    assert threading.active_count() == threads


def test_a_server_that_is_silent_is_a_fault_and_hung_up_on_in_time(serve: Serve) -> None:
    link = ServerLink(serve(SILENT), 0.2)
    began = time.monotonic()
    with pytest.raises(EnvironmentFault, match=r"no answer within 0\.2 s"):
        link.step({"message": "hello"})
    link.close()
    assert time.monotonic() - began < 0.2 + CLOSE_DEADLINE_S + 1.0


TOOLS = {"action": {"properties": {"tool_name": {"type": "string"}}}}


@pytest.mark.parametrize(
    ("schema", "told"),
    [
        (TOOLS, "no OpenEnv server answers there: .*the server ended the session"),
        ({}, "/schema tells no action"),
        ([], "/schema tells no JSON object"),
        ({"action": 3}, "/schema tells no action"),
        ({"action": {"properties": [1]}}, "cannot be made"),
    ],
)
def test_a_server_that_cannot_be_played_is_refused_in_one_line(serve: Serve, schema: Any, told: str) -> None:
    with pytest.raises(PreflightError, match=told) as refused:
        registry.environment(f"openenv:{serve(ENDS, schema)}")
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize("url", ["http://", "http://[", "http://127.0.0.1:99999", "http://\ud800"])
def test_what_is_no_url_is_refused_in_one_line(url: str) -> None:
    with pytest.raises(PreflightError, match="no OpenEnv server answers there") as refused:
        registry.environment(f"openenv:{url}")
    assert len(str(refused.value).splitlines()) == 1


def test_an_episode_whose_server_ends_is_a_fault_and_leaves_nothing_open(serve: Serve) -> None:
    remote = registry.environment(f"openenv:{serve(ENDS, {'action': {'properties': {}}})}")
    threads = threading.active_count()
    with pytest.raises(EnvironmentFault, match="the server ended the session"):
        remote.reset("seed-000001", 0)
    assert threading.active_count() == threads
