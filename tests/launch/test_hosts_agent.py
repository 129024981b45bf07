"""An agent and its coordinator: whatever happens to one of them, nothing that was started lives on."""

import asyncio
import fcntl
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from common.aio import background
from common.errors import PreflightError
from launch import keys
from launch.config import SupervisionConfig
from launch.guard import marked
from launch.hosts import agent
from launch.hosts.folder import HostFolder
from launch.hosts.key_files import follow_keys, send_keys
from launch.hosts.learners import Learners
from launch.hosts.link import Link, RemoteLauncher, remote_command
from launch.hosts.member import Member
from launch.hosts.placement import Host
from launch.hosts.wire import READY, Wire
from launch.processes import Command, Launcher

SILENCE_S, STOP_S = 2.0, 1.0
LEAVE_S = 30.0
"""What a busy machine takes to end two Pythons."""


def stubborn(events: Path) -> str:
    """A program that tells through a pipe that it is up and that it was asked to leave, and then stays."""
    os.mkfifo(events)
    return f"""
import signal
def tell(word):
    with open({str(events)!r}, "w") as pipe:
        pipe.write(word)
signal.signal(signal.SIGINT, lambda *_: tell("asked"))
tell("up")
while True:
    signal.pause()
"""


async def told(events: Path) -> str:
    return await asyncio.to_thread(events.read_text)


def hello(folder: Path, silence_s: float = LEAVE_S) -> dict[str, Any]:
    return {"name": "here", "directory": str(folder), "nonce": "hosts/none", "silence_s": silence_s}


def running(code: str) -> dict[str, Any]:
    given = {"environment": {}, "follows": {"logs/x.log": 0}, "cpu_cores": [], "num_threads": 1}
    return {"id": 2, "do": "run", "name": "x", "arguments": ["-c", code], "stop_s": STOP_S, **given}


class SilentCoordinator:
    """Speaks to an agent of its own without ever asking whether it lives."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdin
        assert process.stdout
        self.process = process
        self.wire = Wire(process.stdout, process.stdin, LEAVE_S)
        self.mark = ""

    @classmethod
    @asynccontextmanager
    async def begun(cls, folder: Path) -> "AsyncIterator[SilentCoordinator]":
        """With an agent that was greeted, and will take `SILENCE_S` of silence for death."""
        pipe = asyncio.subprocess.PIPE
        command = remote_command(Host("localhost"))
        process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe)
        try:
            coordinator = cls(process)
            assert process.stdout
            await process.stdout.readuntil(READY)
            await coordinator.wire.send({"id": 1, "do": "hello", **hello(folder, SILENCE_S)})
            answer = await anext(coordinator.wire.messages())
            coordinator.mark = answer["ok"]["mark"]
            yield coordinator
        finally:
            if process.returncode is None:
                process.kill()

    async def left(self) -> float:
        """How many seconds the agent took to leave; nothing that it started is there any more."""
        began = time.monotonic()
        async with asyncio.timeout(SILENCE_S + STOP_S + LEAVE_S):
            await self.process.communicate()
        assert marked(self.mark) == []
        return time.monotonic() - began


async def test_what_is_just_being_started_ends_too_when_the_coordinator_is_gone(tmp_path: Path) -> None:
    async with SilentCoordinator.begun(tmp_path) as coordinator:
        await coordinator.wire.send(running("import signal; signal.pause()"))
        coordinator.wire.abort()
        await coordinator.left()


async def test_an_agent_that_hears_nothing_ends_all_after_the_silence_and_the_time_to_stop(
    tmp_path: Path,
) -> None:
    events = tmp_path / "events"
    async with SilentCoordinator.begun(tmp_path) as coordinator:
        await coordinator.wire.send(running(stubborn(events)))
        assert await told(events) == "up"
        assert await coordinator.left() < SILENCE_S + STOP_S + LEAVE_S


def test_an_agent_ends_no_process_but_the_agent_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agent, "TAKE_OVER_S", 0.1)
    lock = tmp_path / "hosts" / "here.lock"
    lock.parent.mkdir()
    with subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"]) as stranger:
        lock.write_text(f"{stranger.pid} mark\n")
        with lock.open() as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            newcomer = agent.Agent(cast(Wire, None), Launcher("newcomer"))
            newcomer._folder = HostFolder(tmp_path)
            with pytest.raises(PreflightError, match="does not stop"):
                newcomer._take_over("here")
        assert stranger.poll() is None
        stranger.kill()


class ReadyMember(Member):
    """One whose host is never away."""

    def __init__(self, link: Link) -> None:
        super().__init__(link.host, "", LEAVE_S, is_slurm=False)
        self.link = link

    async def back(self, limit_s: float) -> Link:
        return self.live()


@asynccontextmanager
async def linked(folder: Path, name: str) -> AsyncIterator[Link]:
    """A host of this machine: an agent with a folder of its own."""
    host = Host(name, ssh="localhost")
    said = folder / "logs" / f"{name}-agent.log"
    async with Link.opened(host, remote_command(host), folder, said, LEAVE_S) as link:
        facts = await link.request("hello", **hello(folder / name) | {"name": name})
        link.mark = facts["mark"]
        yield link


async def test_what_runs_when_a_coordinator_leaves_is_asked_to_and_waited_for(tmp_path: Path) -> None:
    events, left = tmp_path / "events", tmp_path / "left"
    os.mkfifo(events)
    code = f"""
import pathlib, signal, sys
def leave(*_):
    pathlib.Path({str(left)!r}).touch()
    sys.exit(0)
signal.signal(signal.SIGINT, leave)
with open({str(events)!r}, "w") as pipe:
    pipe.write("up")
signal.pause()
"""
    async with linked(tmp_path, "one") as link:
        command = Command("x", ("-c", code), tmp_path / "logs" / "x.log", stop_s=LEAVE_S)
        await RemoteLauncher(link, tmp_path).start(command)
        assert await told(events) == "up"
    assert left.exists()
    assert marked(link.mark) == []


async def test_whoever_is_revoked_in_the_folder_of_the_run_is_so_on_its_hosts(tmp_path: Path) -> None:
    run, home = tmp_path / "run", "keys/hosts/one"
    keys.make(run / "keys", ["one", "two"])
    async with linked(tmp_path, "one") as link:
        failures = iter([PreflightError("a disk is full for a moment")])

        async def deliver() -> None:
            for failure in failures:
                raise failure
            await send_keys(link, run, ["hosts/one"])

        await send_keys(link, run, ["hosts/one"])
        admitted = {name: tmp_path / "one" / home / "admitted" / f"{name}.key" for name in ("one", "two")}
        assert all(file.is_file() for file in admitted.values())
        async with asyncio.timeout(LEAVE_S), background(follow_keys(run, deliver)):
            keys.revoke(run / "keys", "two")
            while admitted["two"].exists():  # noqa: ASYNC110
                await asyncio.sleep(0.05)
    assert admitted["one"].is_file()
    assert (tmp_path / "one" / home / "own.key_secret").stat().st_mode & 0o777 == 0o600


async def test_a_second_ctrl_c_kills_the_ranks_of_all_hosts_without_waiting_for_a_checkpoint(
    tmp_path: Path,
) -> None:
    async with AsyncExitStack() as stack:
        links = [await stack.enter_async_context(linked(tmp_path, name)) for name in ("one", "two")]
        events = [tmp_path / f"{link.host.name}.events" for link in links]
        commands = {
            link.host.name: Command(
                f"{link.host.name}-learner",
                ("-c", stubborn(pipe)),
                tmp_path / "logs" / f"{link.host.name}-learner.log",
                stop_s=10 * LEAVE_S,
            )
            for link, pipe in zip(links, events, strict=True)
        }

        notices: list[str] = []

        async def prepared(_: Link) -> None: ...

        learners = Learners(
            [ReadyMember(link) for link in links],
            commands,
            prepared,
            lambda link: RemoteLauncher(link, tmp_path),
            SupervisionConfig(),
            notices.append,
            Counter(),
        )
        async with asyncio.timeout(4 * LEAVE_S), asyncio.TaskGroup() as group:
            training = group.create_task(learners.train())
            assert [await told(pipe) for pipe in events] == ["up", "up"]
            training.cancel()
            assert await told(events[0]) == "asked"
            training.cancel()
            with pytest.raises(asyncio.CancelledError):
                await training
        for link in links:
            assert marked(link.mark) == []
