"""The client against hubs that fail: deadlines, retries, limits, and no step played twice; on either wire."""

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
from envhub.environment import StepResult
from envhub.serving import serving
from envhub.transport import throttler
from envhub.wire import answer, decode

TASK = TaskReference(environment="guess_number", task="number-001")
OPENING = {"instructions": "", "observation": "o", "horizon": 3}
RESULT = {"observation": "r", "reward": 0.5}
both_wires = pytest.mark.parametrize("wire", ["json", "msgpack"])


class FailingHub:
    """Answers creation, then does with each step what `script` says: a status, "drop", "hang" or "answer"."""

    def __init__(self, *script: Any) -> None:
        self.script = list(script)
        self.indices: list[int] = []
        self.batches: list[list[dict[str, Any]]] = []
        self.peers: set[Any] = set()
        self.content_types: set[str] = set()
        self.num_opened = 0
        self._never = asyncio.Event()

    async def open(self, request: web.Request) -> web.Response:
        self._seen(request)
        self.num_opened += 1
        return answer(request, {**OPENING, "session": f"s{self.num_opened}"})

    async def step(self, request: web.Request) -> web.Response:
        self._seen(request)
        self.indices.append((await self._body(request))["index"])
        what = self.script.pop(0) if self.script else "answer"
        if what == "drop":
            assert request.transport is not None
            request.transport.abort()
        if what == "hang":
            await self._never.wait()
        if what == "nonsense":
            return answer(request, {"observation": 3})
        if isinstance(what, int):
            error = {"code": "no", "message": "because"}
            return answer(request, {"error": error}, what, {"Retry-After": "0"})
        return answer(request, RESULT)

    def release(self) -> None:
        """What hangs goes on."""
        self._never.set()

    async def steps(self, request: web.Request) -> web.Response:
        """Each step of a batch meets the next of the script."""
        steps = (await self._body(request))["steps"]
        self.batches.append(steps)
        rows: list[Any] = []
        for step in steps:
            what = self.script.pop(0) if self.script else "answer"
            refused = {"error": {"code": "no", "message": "because"}}
            found = {"answer": RESULT, "refuse": refused, "nonsense": {"observation": 3}}[what]
            rows.append({"session": step["session"], **found})
        return answer(request, {"results": rows})

    async def _body(self, request: web.Request) -> Any:
        self.content_types.add(request.content_type)
        return decode(await request.read(), request.content_type)

    def _seen(self, request: web.Request) -> None:
        assert request.transport is not None
        self.peers.add(request.transport.get_extra_info("peername"))


@asynccontextmanager
async def client(hub: FailingHub, **changes: Any) -> AsyncIterator[HubClient]:
    application = web.Application()
    application.add_routes(
        [
            web.post("/v1/sessions", hub.open),
            web.post("/v1/sessions/{session}/step", hub.step),
            web.post("/v1/step", hub.steps),
        ]
    )
    runner = web.AppRunner(application, shutdown_timeout=0.01, handler_cancellation=True)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        settings = {"deadline_s": 5.0, "calls_per_s": 2000.0, "max_retries": 2, **changes}
        async with HubClient(f"http://127.0.0.1:{runner.addresses[0][1]}/", **settings) as made:
            yield made
    finally:
        await runner.cleanup()


@both_wires
@pytest.mark.parametrize("failure", ["drop", 502, 503, 504])
async def test_a_step_that_did_not_get_through_is_sent_again_with_the_same_index(
    failure: Any, wire: str
) -> None:
    hub = FailingHub("answer", failure, failure)
    async with client(hub, wire=wire) as made:
        session = await made.create(TASK, "plain")
        for _ in range(3):
            assert (await session.step("guess 1")).reward == 0.5
    assert hub.indices == [0, 1, 1, 1, 2]
    assert hub.content_types == {f"application/{wire}"}


async def test_retries_are_bounded_and_the_fault_is_one_line() -> None:
    hub = FailingHub(503, 503, 503, 503)
    async with client(hub) as made:
        session = await made.create(TASK, "plain")
        with pytest.raises(EnvironmentFault, match=r"no: because \(3 tries\)") as fault:
            await session.step("guess 1")
    assert "\n" not in str(fault.value)
    assert len(hub.indices) == 3


@both_wires
@pytest.mark.parametrize("status", [400, 401, 404, 409, 410, 500])
async def test_a_final_refusal_is_a_fault_at_once(status: int, wire: str) -> None:
    hub = FailingHub(status)
    async with client(hub, wire=wire) as made:
        session = await made.create(TASK, "plain")
        with pytest.raises(EnvironmentFault, match="no: because"):
            await session.step("guess 1")
    assert len(hub.indices) == 1


async def test_every_session_may_have_a_step_under_way_however_many_they_are() -> None:
    number = 600
    hub = FailingHub(*["hang"] * number)
    async with client(hub, deadline_s=30.0, calls_per_s=100_000.0) as made, asyncio.TaskGroup() as playing:
        for session in [await made.create(TASK, "plain") for _ in range(number)]:
            playing.create_task(session.step("guess 1"))
        async with asyncio.timeout(20):
            while len(hub.indices) < number:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        hub.release()


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


async def test_a_batch_has_a_result_or_a_fault_in_every_place() -> None:
    hub = FailingHub("answer", "refuse", "nonsense", "answer")
    async with client(hub) as made:
        sessions = [await made.create(TASK, "plain") for _ in range(4)]
        found = await made.step_many([(session, "guess 1") for session in sessions])
        assert [isinstance(one, EnvironmentFault) for one in found] == [False, True, True, False]
        assert isinstance(found[0], StepResult)
        assert found[0].reward == 0.5
        assert str(found[1]) == "hub session s2: no: because"
        again = await made.step_many([(sessions[3], "guess \ud800"), (sessions[0], "guess 3")])
        assert not any(isinstance(one, EnvironmentFault) for one in again)
    assert [(step["session"], step["index"]) for step in hub.batches[0]] == [
        ("s1", 0),
        ("s2", 0),
        ("s3", 0),
        ("s4", 0),
    ]
    assert hub.batches[1] == [
        {"session": "s4", "index": 1, "action": "guess ?"},
        {"session": "s1", "index": 1, "action": "guess 3"},
    ]


async def test_a_batch_has_at_most_one_turn_of_a_session_and_may_be_empty() -> None:
    hub = FailingHub()
    async with client(hub) as made:
        session = await made.create(TASK, "plain")
        with pytest.raises(ValueError, match="stands twice"):
            await made.step_many([(session, "guess 1"), (session, "guess 2")])
        assert await made.step_many([]) == []
    assert hub.batches == []


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


@both_wires
async def test_a_whole_episode_over_the_real_hub(wire: Any) -> None:
    settings = {"deadline_s": 10.0, "calls_per_s": 2000.0, "max_retries": 1}
    async with (
        serving(HubConfig(), token="sesame") as server,
        HubClient(server.url, **settings, token="sesame", wire=wire) as made,
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


@both_wires
async def test_the_real_hub_describes_environments_and_steps_many_sessions(wire: Any) -> None:
    settings = {"deadline_s": 30.0, "calls_per_s": 2000.0, "max_retries": 1}
    async with serving(HubConfig()) as server, HubClient(server.url, **settings, wire=wire) as made:
        about = await made.describe("guess_number")
        assert (about.is_available, about.num_train) == (True, 80)
        with pytest.raises(EnvironmentFault, match="unknown_environment"):
            await made.describe("a/b c")
        sessions = [await made.create(TASK, "plain") for _ in range(3)]
        await sessions[1].close()
        first, closed, last = await made.step_many([(session, "guess 1") for session in sessions])
        assert first == last
        assert isinstance(first, StepResult)
        assert not first.is_malformed
        assert "unknown_session" in str(closed)
        assert (await sessions[0].step("guess 2")) == (await sessions[2].step("guess 2"))


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
