"""The client against hubs that fail: deadlines, retries, limits, and no step played twice."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from common.errors import EnvironmentFault
from common.trajectory import TaskReference
from envhub.client import HubClient
from envhub.config import HubConfig
from envhub.server import serving
from envhub.transport import throttler

TASK = TaskReference(environment="guess_number", task="number-001")
OPENING = {"session": "s", "instructions": "", "observation": "o", "horizon": 3}
RESULT = {"observation": "r", "reward": 0.5}


class FailingHub:
    """Answers creation, then does with each step what `script` says: a status, "drop", "hang" or "answer"."""

    def __init__(self, *script: Any) -> None:
        self.script = list(script)
        self.indices: list[int] = []
        self.peers: set[Any] = set()
        self._never = asyncio.Event()

    async def open(self, request: web.Request) -> web.Response:
        self._seen(request)
        return web.json_response(OPENING)

    async def step(self, request: web.Request) -> web.Response:
        self._seen(request)
        self.indices.append((await request.json())["index"])
        what = self.script.pop(0) if self.script else "answer"
        if what == "drop":
            assert request.transport is not None
            request.transport.abort()
        if what == "hang":
            await self._never.wait()
        if what == "nonsense":
            return web.json_response({"observation": 3})
        if isinstance(what, int):
            error = {"code": "no", "message": "because"}
            return web.json_response({"error": error}, status=what, headers={"Retry-After": "0"})
        return web.json_response(RESULT)

    def _seen(self, request: web.Request) -> None:
        assert request.transport is not None
        self.peers.add(request.transport.get_extra_info("peername"))


@asynccontextmanager
async def client(hub: FailingHub, **changes: Any) -> AsyncIterator[HubClient]:
    application = web.Application()
    application.add_routes([web.post("/v1/sessions", hub.open), web.post("/v1/sessions/s/step", hub.step)])
    runner = web.AppRunner(application, shutdown_timeout=0.01, handler_cancellation=True)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        settings = {"deadline_s": 5.0, "calls_per_s": 2000.0, "max_retries": 2, **changes}
        async with HubClient(f"http://127.0.0.1:{runner.addresses[0][1]}/", **settings) as made:
            yield made
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("failure", ["drop", 502, 503, 504])
async def test_a_step_that_did_not_get_through_is_sent_again_with_the_same_index(failure: Any) -> None:
    hub = FailingHub("answer", failure, failure)
    async with client(hub) as made:
        session = await made.create(TASK, "plain")
        for _ in range(3):
            assert (await session.step("guess 1")).reward == 0.5
    assert hub.indices == [0, 1, 1, 1, 2]


async def test_retries_are_bounded_and_the_fault_is_one_line() -> None:
    hub = FailingHub(503, 503, 503, 503)
    async with client(hub) as made:
        session = await made.create(TASK, "plain")
        with pytest.raises(EnvironmentFault, match=r"no: because \(3 tries\)") as fault:
            await session.step("guess 1")
    assert "\n" not in str(fault.value)
    assert len(hub.indices) == 3


@pytest.mark.parametrize("status", [400, 401, 404, 409, 410, 500])
async def test_a_final_refusal_is_a_fault_at_once(status: int) -> None:
    hub = FailingHub(status)
    async with client(hub) as made:
        session = await made.create(TASK, "plain")
        with pytest.raises(EnvironmentFault, match="no: because"):
            await session.step("guess 1")
    assert len(hub.indices) == 1


async def test_a_hub_that_hangs_is_left_at_the_deadline() -> None:
    async with client(FailingHub("hang"), deadline_s=0.2) as made:
        session = await made.create(TASK, "plain")
        with pytest.raises(EnvironmentFault, match=r"no answer within 0\.2 s"):
            await session.step("guess 1")


async def test_an_answer_that_is_no_result_is_a_fault() -> None:
    async with client(FailingHub("nonsense")) as made:
        session = await made.create(TASK, "plain")
        with pytest.raises(EnvironmentFault, match="not a StepResult"):
            await session.step("guess 1")


async def test_calls_in_a_row_share_one_connection() -> None:
    hub = FailingHub()
    async with client(hub) as made:
        session = await made.create(TASK, "plain")
        for _ in range(20):
            await session.step("guess 1")
    assert len(hub.peers) == 1


async def test_a_dead_hub_is_not_healthy_and_every_call_a_fault() -> None:
    async with HubClient("http://127.0.0.1:1", deadline_s=2.0, calls_per_s=100.0, max_retries=1) as made:
        assert not await made.healthy(0.5)
        with pytest.raises(EnvironmentFault, match="2 tries"):
            await made.create(TASK, "plain")


async def test_a_hub_that_comes_up_late_is_waited_for() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    late = HubClient(f"http://127.0.0.1:{port}", deadline_s=1, calls_per_s=10, max_retries=0)
    async with late as made, asyncio.TaskGroup() as group:
        waiting = group.create_task(made.healthy(20.0))
        async with serving(HubConfig(port=port)):
            assert await waiting


async def test_closing_never_raises() -> None:
    async with client(FailingHub()) as made:
        session = await made.create(TASK, "plain")
        await session.close()
    await session.close()


async def test_a_whole_episode_over_the_real_hub() -> None:
    async with (
        serving(HubConfig(), token="sesame") as server,
        HubClient(server.url, deadline_s=10, calls_per_s=2000, max_retries=1, token="sesame") as made,
    ):
        assert await made.healthy(1.0)
        assert [task.depth for task in await made.catalogue("textcraft", "test", (4,))] == [4, 4]
        assert len(await made.tasks("guess_number", "train")) == 80
        assert "guess" in await made.vocabulary("guess_number")
        session = await made.create(TASK, "plain")
        results = [await session.step(f"guess {number}") for number in (1, 2)]
        assert not any(result.is_malformed for result in results)
        assert (await session.step("\ud800 caf\u00e9")).is_malformed
        await session.close()
        with pytest.raises(EnvironmentFault, match="unknown_session"):
            await session.step("guess 3")


async def test_under_its_limit_the_throttler_does_not_delay() -> None:
    limit = throttler(2000.0)
    began = time.monotonic()
    for _ in range(200):
        await limit.acquire()
    assert time.monotonic() - began < 0.05


async def test_over_its_limit_the_throttler_holds_calls_back() -> None:
    limit = throttler(200.0)
    began = time.monotonic()
    async with asyncio.TaskGroup() as group:
        for _ in range(60):
            group.create_task(limit.acquire())
    # 20 at once, then 20 in each tenth of a second.
    assert 0.2 <= time.monotonic() - began < 1.0


@pytest.mark.parametrize("calls_per_s", [0.5, 1.0, 7.0, 15.0, 2000.0])
def test_the_throttlers_window_holds_the_configured_rate(calls_per_s: float) -> None:
    limit = throttler(calls_per_s)
    assert limit.rate_limit / limit.period == pytest.approx(calls_per_s)
