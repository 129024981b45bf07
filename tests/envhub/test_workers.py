"""Between the hub and its workers: pieces, batches, alarms, and workers that do not come up."""

import asyncio
import os
import signal
import socket
import sys
import threading
from pathlib import Path
from typing import Any

import msgpack
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.trajectory import TaskReference
from envhub.config import HubConfig
from envhub.frames import GREETING, PIECE_BYTES, Inbox, encode
from envhub.refusal import HubRefusal
from envhub.scratch import remove, worker_folder
from envhub.session_table import outcome
from envhub.worker import SessionHost, serve
from envhub.workers import Worker
from tests.envhub.browser import hub

NUMBER = {"environment": "guess_number", "task": "number-001"}


@given(
    values=st.lists(st.one_of(st.text(), st.binary(), st.lists(st.integers(0, 9)), st.none()), min_size=1),
    cuts=st.lists(st.integers(1, 40), min_size=1),
)
def test_values_arrive_whole_and_in_order_however_the_pipe_cuts_them(
    values: list[Any], cuts: list[int]
) -> None:
    ours, theirs = socket.socketpair()
    stream, seen, inbox, turn = b"".join(map(encode, values)), [], Inbox(), 0
    with ours, theirs:
        while stream:
            size = cuts[turn % len(cuts)]
            ours.sendall(stream[:size])
            stream, turn = stream[size:], turn + 1
        ours.shutdown(socket.SHUT_WR)
        while found := inbox.receive(theirs):
            seen += found
    assert seen == values


def test_a_value_larger_than_a_piece_arrives_and_one_that_is_cut_off_does_not() -> None:
    ours, theirs = socket.socketpair()
    large, inbox = "x" * (3 * PIECE_BYTES), Inbox()

    def send() -> None:
        ours.sendall(encode(large) + encode(large)[:-1])
        ours.shutdown(socket.SHUT_WR)

    with ours, theirs:
        sender = threading.Thread(target=send)
        sender.start()
        assert inbox.receive(theirs) == [large]
        assert inbox.receive(theirs) == []
        sender.join()


class _Slow(SessionHost):
    """Steps answer at once; everything else waits until it is allowed."""

    def __init__(self) -> None:
        super().__init__()
        self.allowed = threading.Event()

    def handle(self, request: Any) -> list[Any]:
        if request[1] != "step":
            assert self.allowed.wait(10)
        return [request[0], "", request[1]]


def test_the_answer_to_a_step_never_waits_for_something_slow_behind_it() -> None:
    ours, theirs = socket.socketpair()
    host, inbox = _Slow(), Inbox()
    served = threading.Thread(target=serve, args=(theirs, host))
    with ours:
        ours.settimeout(10)
        served.start()
        assert inbox.receive(ours) == [GREETING]
        requests = [[0, "step", []], [1, "step", []], [2, "create", []], [3, "step", []]]
        ours.sendall(b"".join(msgpack.packb(request) for request in requests))
        answers: list[Any] = []
        while len(answers) < 2:
            answers += inbox.receive(ours)
        assert answers == [[0, "", "step"], [1, "", "step"]]
        host.allowed.set()
        while len(answers) < 4:
            answers += inbox.receive(ours)
        assert [answer[0] for answer in answers] == [0, 1, 2, 3]
    served.join(10)
    theirs.close()


async def test_the_two_turns_of_a_session_in_one_batch_are_played_in_order() -> None:
    async with hub(environments=["guess_number"]) as (server, browse):
        first, second = await browse.open(), await browse.open()
        steps = [(first, 0, "guess 1"), (second, 0, "guess 2"), (first, 1, "guess 3"), ("none", 0, "guess 1")]
        *played, unknown = await server.sessions.step_many(steps)
        assert all(isinstance(result, dict) and result["observation"] for result in played)
        assert isinstance(unknown, HubRefusal)
        assert unknown.code == "unknown_session"
        assert (await browse.step(first, 2, "guess 4"))[0] == 200


async def test_a_worker_that_dies_under_a_batch_costs_its_sessions_and_holds_nothing() -> None:
    pools = {"guess_number": {"num_workers": 2}}
    async with hub(environments=["guess_number"], pools=pools) as (server, browse):
        sessions = [await browse.open() for _ in range(4)]
        victim = server.pools["guess_number"].living[0]
        os.kill(victim.pid, signal.SIGSTOP)
        async with asyncio.TaskGroup() as group:
            batch = group.create_task(server.sessions.step_many([(s, 0, "guess 1") for s in sessions]))
            waiting = group.create_task(browse.step(sessions[0], 0, "guess 1"))
            await browse.text("/metrics")  # both have begun
            os.kill(victim.pid, signal.SIGKILL)
        lost = [outcome for outcome in batch.result() if isinstance(outcome, HubRefusal)]
        assert {refusal.code for refusal in lost} == {"worker_died"}
        assert len(lost) == 2
        assert waiting.result()[0] in (200, 404, 410)
        alive = [s for s, outcome in zip(sessions, batch.result(), strict=True) if isinstance(outcome, dict)]
        for session in alive:
            assert (await browse.step(session, 1, "guess 2"))[0] == 200


async def test_a_hub_that_begins_to_drain_while_a_session_waits_for_a_worker_does_not_open_it() -> None:
    async with hub() as (server, _):
        async with asyncio.TaskGroup() as group:
            opening = group.create_task(outcome(server.sessions.open(TaskReference(**NUMBER), "plain")))
            await asyncio.sleep(0)
            server.sessions.is_draining = True
        assert isinstance(refusal := opening.result(), HubRefusal)
        assert refusal.code == "hub_draining"
        assert len(server.sessions) == 0


async def test_a_batch_that_is_given_up_lets_its_sessions_go() -> None:
    async with hub(environments=["guess_number"], step_timeout_s=60) as (server, browse):
        session = await browse.open()
        worker = server.pools["guess_number"].living[0]
        os.kill(worker.pid, signal.SIGSTOP)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await server.sessions.step_many([(session, 0, "guess 1")])
        os.kill(worker.pid, signal.SIGCONT)
        # The turn was played though nobody heard; the same turn again is answered from memory.
        assert (await browse.step(session, 0, "guess 1"))[0] == 200
        assert (await browse.step(session, 1, "guess 2"))[0] == 200


async def test_a_batch_waits_for_the_configured_latency() -> None:
    async with hub(environments=["guess_number"], latency_mean_s=0.2, latency_sigma=0.0) as (server, browse):
        sessions = [await browse.open() for _ in range(3)]
        loop = asyncio.get_running_loop()
        began = loop.time()
        await server.sessions.step_many([(session, 0, "guess 1") for session in sessions])
        assert 0.2 <= loop.time() - began < 0.55


async def test_a_worker_that_cannot_be_started_leaves_no_folder_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    used = Path(await asyncio.to_thread(worker_folder))
    before = set(used.parent.iterdir())
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    with pytest.raises(FileNotFoundError):
        await Worker.start(HubConfig().pool("guess_number"))
    assert set(used.parent.iterdir()) == before
    remove(used)


def _next_child(known: set[int]) -> int:
    """The process that this one starts next."""
    while not (found := {child.pid for child in psutil.Process().children()} - known):
        pass
    return int(found.pop())


async def test_a_worker_that_is_killed_while_it_starts_is_started_again() -> None:
    async with hub(environments=["guess_number"]) as (server, browse):
        session = await browse.open()
        first = server.pools["guess_number"].living[0].pid
        others = {child.pid for child in psutil.Process().children()} - {first}
        os.kill(first, signal.SIGKILL)
        starting = await asyncio.to_thread(_next_child, others | {first})
        os.kill(starting, signal.SIGKILL)
        assert (await browse.step(session, 0, "guess 1"))[0] in (404, 410)
        await server.pools["guess_number"].all_up()
        assert (await browse.step(await browse.open(), 0, "guess 1"))[0] == 200


async def test_a_client_that_dies_while_it_sends_is_no_error_of_the_hub(caplog: Any) -> None:
    async with hub(environments=["guess_number"]) as (server, browse):
        session = await browse.open()
        host, port = server.url.removeprefix("http://").split(":")
        for path in (f"/v1/sessions/{session}/step", "/guess_number/step"):
            _, writer = await asyncio.open_connection(host, int(port))
            writer.write(
                f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 50\r\n\r\n".encode() + b"{"
            )
            await writer.drain()
            assert (await browse.step(session, 0, "guess 1"))[0] == 200
            writer.transport.abort()
        # Both are counted as refused: they were seen to be gone.
        async with asyncio.timeout(10):
            while 'code="bad_request"} 2' not in await browse.text("/metrics"):
                pass
    assert not [record for record in caplog.records if record.name.startswith("aiohttp")]
