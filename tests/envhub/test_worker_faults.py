"""What an environment says or leaves behind costs its own session, never another's, and never the hub."""

import asyncio
import os
import resource
import signal
import threading
from collections.abc import Awaitable
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from common.trajectory import TaskReference
from envhub.agentgym.door import mount
from envhub.refusal import HubRefusal
from envhub.session import Session
from envhub.session_table import MAX_WAITING
from tests.envhub.browser import Browser, hub
from tests.envhub.fakes import MisspeakingEnvironment, MisspeakingEpisode

SPEAKER = "python:tests.envhub.fakes:MisspeakingEnvironment"
TASK = {"environment": SPEAKER, "task": "hoard"}


async def stepped(browse: Browser, session: str, index: int, action: str) -> str:
    """What was shown, or the code of the refusal."""
    status, answer = await browse.step(session, index, action)
    return str(answer["observation"] if status == 200 else answer["error"]["code"])


async def test_half_a_pair_is_replaced_and_harms_nobody() -> None:
    async with hub(environments=[SPEAKER]) as (_, browse):
        one, other = await browse.open(**TASK), await browse.open(**TASK)
        assert await stepped(browse, one, 0, "half a pair") == "cut ? here"
        assert await stepped(browse, other, 0, "hello") == "hello"


async def test_an_answer_that_cannot_be_sent_is_the_fault_of_its_session_alone() -> None:
    async with hub(environments=[SPEAKER]) as (server, browse):
        one, other = await browse.open(**TASK), await browse.open(**TASK)
        assert await stepped(browse, one, 0, "too much") == "environment_fault"
        assert await stepped(browse, one, 1, "hello") == "unknown_session"
        assert await stepped(browse, other, 0, "hello") == "hello"
        assert server.pools.num_lost[SPEAKER] == 0


async def test_keys_that_are_no_text_do_not_end_the_hub() -> None:
    async with hub(environments=[SPEAKER]) as (_, browse):
        session = await browse.open(**TASK)
        await browse("GET", f"/v1/sessions/{session}/actions")
        assert await stepped(browse, session, 0, "hello") == "hello"


async def test_a_reader_that_raises_does_not_cost_the_episode() -> None:
    async with hub(environments=[SPEAKER]) as (_, browse):
        session = await browse.open(**TASK)
        path = f"/v1/sessions/{session}/render"
        assert await browse.refused(410, "GET", path) == "environment_fault"
        assert await stepped(browse, session, 0, "hello") == "hello"


async def test_a_reader_that_raises_does_not_cost_the_episode_of_a_dialect_either() -> None:
    async with hub(environments=[SPEAKER]) as (server, browse):
        base = f"/{mount(SPEAKER)}"
        identity = (await browse("POST", f"{base}/create"))[1]["id"]
        await browse("POST", f"{base}/reset", {"id": identity, "data_idx": 0})
        assert (await browse("GET", f"{base}/detail?id={identity}"))[1]["error"]
        _, result = await browse("POST", f"{base}/step", {"id": identity, "action": "hello"})
        assert result["observation"] == "hello"
        await browse("POST", f"{base}/close", {"id": identity})
        assert len(server.sessions) == 0


async def test_an_environments_own_words_are_told_on_one_short_line() -> None:
    async with hub(environments=[SPEAKER]) as (_, browse):
        one, other = await browse.open(**TASK), await browse.open(**TASK)
        _, alone = await browse.step(one, 0, "break")
        step = {"session": other, "index": 0, "action": "break"}
        _, batch = await browse("POST", "/v1/step", {"steps": [step]})
        told = alone["error"]["message"]
        assert told.startswith("it broke and broke")
        assert len(told) <= 300
        assert batch["results"] == [{"session": other, **alone}]


async def test_whoever_runs_the_hub_is_told_what_an_environment_raised(
    capfd: pytest.CaptureFixture[str],
) -> None:
    async with hub(environments=[SPEAKER]) as (_, browse):
        body = {**TASK, "seed": 1}
        assert await browse.refused(410, "POST", "/v1/sessions", body) == "environment_fault"
    assert "ValueError: /secret/path" in capfd.readouterr().err


async def test_a_child_that_holds_the_socket_does_not_hide_a_dead_worker() -> None:
    async with hub(environments=[SPEAKER]) as (server, browse):
        session = await browse.open(**TASK)
        await browse.step(session, 0, "leave a child")
        children = psutil.Process(server.pools[SPEAKER].living[0].pid).children()
        assert await stepped(browse, session, 1, "die") == "worker_died"
        await server.pools[SPEAKER].all_up()
        assert await stepped(browse, await browse.open(**TASK), 0, "hello") == "hello"
        assert len(children) == 1
    assert_gone(children)


async def test_sessions_are_closed_and_children_are_killed_when_the_hub_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLOSED_MARK", str(tmp_path / "mark"))
    async with hub(environments=[SPEAKER]) as (server, browse):
        session = await browse.open(**TASK)
        await browse.step(session, 0, "leave a child")
        children = psutil.Process(server.pools[SPEAKER].living[0].pid).children()
    assert (tmp_path / "mark").read_text() == "closed"
    assert_gone(children)


def assert_gone(processes: list[psutil.Process]) -> None:
    """A killed process may be seen for a moment, or wait to be buried."""
    _, seen = psutil.wait_procs(processes, timeout=5)
    for process in seen:
        with suppress(psutil.NoSuchProcess):
            assert process.status() == psutil.STATUS_ZOMBIE


async def test_what_there_is_is_listed_however_many_workers_each_has() -> None:
    async with hub(environments=["guess_number"], num_workers=2) as (_, browse):
        status, listed = await browse("GET", "/v1/environments")
        assert (status, len(listed["environments"])) == (200, 1)


async def test_who_gives_up_opening_leaves_no_session_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLOSED_MARK", str(tmp_path / "mark"))
    task = TaskReference(environment=SPEAKER, task="hoard")
    async with hub(environments=[SPEAKER]) as (server, browse):
        worker = server.pools[SPEAKER].living[0]
        # A stopped worker cannot answer in time.
        os.kill(worker.pid, signal.SIGSTOP)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await server.sessions.open(task, "plain")
        os.kill(worker.pid, signal.SIGCONT)
        assert worker.sessions == set()
        # The worker plays one at a time: when this is answered, the close is too.
        await browse.open(**TASK)
        assert (tmp_path / "mark").read_text() == "closed"


async def test_a_session_that_is_used_while_others_are_swept_stays() -> None:
    now = [0.0]
    async with hub(clock=lambda: now[0], session_ttl_s=10, environments=["guess_number"]) as (server, browse):
        first, second = await browse.open(), await browse.open()
        worker = server.pools["guess_number"].living[0]
        now[0] = 20
        # While the worker is stopped, the sweep waits for it to close the first session.
        os.kill(worker.pid, signal.SIGSTOP)
        async with asyncio.TaskGroup() as group:
            swept = group.create_task(server.sessions.sweep())
            step = group.create_task(server.sessions.step(second, 0, "guess 1"))
            await asyncio.sleep(0)
            os.kill(worker.pid, signal.SIGCONT)
        assert swept.result() == 1
        assert step.result()["observation"] != ""
        assert (await browse.step(second, 1, "guess 2"))[0] == 200
        assert (await browse.step(first, 0, "guess 1"))[0] == 404


async def test_a_worker_is_not_blamed_for_what_the_hub_did_not_hear() -> None:
    async with hub(environments=["guess_number"], step_timeout_s=0.5) as (server, browse):
        session = await browse.open()
        async with asyncio.TaskGroup() as group:
            step = group.create_task(server.sessions.step(session, 0, "guess 1"))
            # One turn of the loop to ask, one to send; then the loop stands still past the deadline.
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            threading.Event().wait(1.0)
        assert step.result()["is_malformed"] is False
        assert server.pools.num_lost["guess_number"] == 0


async def test_workers_whose_memory_cannot_be_read_now_live_on() -> None:
    async with hub(environments=["guess_number"]) as (server, browse):
        session = await browse.open()
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        # The thread that will look is there already; not one more file can be opened.
        await server.pools.watch_once()
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
        try:
            await server.pools.watch_once()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert (await browse.step(session, 0, "guess 1"))[0] == 200


async def test_more_steps_of_one_session_than_may_wait_are_told_to_come_back() -> None:
    async with hub(environments=["guess_number"]) as (server, browse):
        session = await browse.open()
        worker = server.pools["guess_number"].living[0]
        os.kill(worker.pid, signal.SIGSTOP)
        async with asyncio.TaskGroup() as group:
            waiting = [
                group.create_task(outcome(server.sessions.step(session, turn, "guess 1")))
                for turn in range(MAX_WAITING + 1)
            ]
            done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            assert [task.result() for task in done] == ["hub_full"]
            os.kill(worker.pid, signal.SIGCONT)
        assert [task.result() for task in waiting] == ["played"] * MAX_WAITING + ["hub_full"]


async def outcome(play: Awaitable[object]) -> str:
    try:
        await play
    except HubRefusal as refusal:
        return refusal.code
    return "played"


async def test_sessions_of_a_dead_worker_are_faults_and_not_expired() -> None:
    async with hub(environments=["guess_number"]) as (server, browse):
        for _ in range(3):
            await browse.open()
        worker = server.pools["guess_number"].living[0]
        worker.kill("worker_died", "in a test")
        assert await server.sessions.sweep() == 0
        text = await browse.text("/metrics")
        assert 'faults_total{environment="guess_number",code="worker_died"} 3' in text
        assert "expired_total{" not in text


async def test_a_hub_that_drains_waits_for_the_sessions_in_play() -> None:
    async with hub() as (server, browse):
        session = await browse.open()
        async with asyncio.TaskGroup() as group:
            drained = group.create_task(server.sessions.drained())
            assert (await browse.step(session, 0, "guess 1"))[0] == 200
            assert not drained.done()
            assert await browse.refused(503, "POST", "/v1/sessions", {**TASK}) == "hub_draining"
            await browse("DELETE", f"/v1/sessions/{session}")
        assert drained.done()


def test_an_episode_that_cannot_begin_is_closed() -> None:
    closed = MisspeakingEpisode.closed
    with pytest.raises(HubRefusal):
        Session(MisspeakingEnvironment(), TaskReference(environment="x", task="hoard", seed=2), "plain")
    assert MisspeakingEpisode.closed == closed + 1
