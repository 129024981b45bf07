"""What must live is started again, boundedly; what must succeed ends the run with its reason."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from launch.config import SupervisionConfig
from launch.guard import marked
from launch.processes import START_LINE, Command, Launcher
from launch.supervise import ProcessError, Supervisor, describe_exit, reason_of

QUICK = SupervisionConfig(max_restarts=2, backoff_s=0.0, stop_s=5.0)


class Told:
    """Collects the notices of a supervisor."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def __call__(self, line: str) -> None:
        self.lines.append(line)


@pytest.fixture
async def launcher() -> AsyncIterator[Launcher]:
    async with Launcher.guarded() as guarded:
        yield guarded


def python(code: str, folder: Path) -> Command:
    return Command("worker", (sys.executable, "-c", code), folder / "worker.log")


def failing_until(number: int, folder: Path) -> str:
    """A program that fails until it has been started `number` times."""
    return (
        f"import pathlib, sys; f = pathlib.Path({str(folder)!r}) / 'starts'; "
        "n = len(f.read_text()) if f.exists() else 0; f.write_text('x' * (n + 1)); "
        f"sys.exit(0 if n + 1 >= {number} else 'RuntimeError: start ' + str(n + 1))"
    )


async def test_a_dead_process_is_started_again_and_counted(launcher: Launcher, tmp_path: Path) -> None:
    told = Told()
    supervisor = Supervisor(launcher, QUICK, told)
    await supervisor.keep_running(python(failing_until(3, tmp_path), tmp_path), may_leave=True)
    assert supervisor.restarts == {"worker": 2}
    assert "RuntimeError: start 2" in told.lines[-1]


async def test_a_process_that_may_not_leave_is_started_again_when_it_left_in_good_order(
    launcher: Launcher, tmp_path: Path
) -> None:
    told = Told()
    supervisor = Supervisor(launcher, QUICK, told)
    code = "print('pronghorn hub: stopped by SIGTERM')"
    with pytest.raises(ProcessError, match=r"worker died 3 times .exit code 0.: stopped by SIGTERM"):
        await supervisor.keep_running(python(code, tmp_path))
    assert supervisor.restarts == {"worker": 2}
    assert "worker died (exit code 0)" in told.lines[0]


async def test_a_process_that_may_leave_is_not_started_again(launcher: Launcher, tmp_path: Path) -> None:
    supervisor = Supervisor(launcher, QUICK, Told())
    await supervisor.keep_running(python("print('the run is over')", tmp_path), may_leave=True)
    assert not supervisor.restarts


async def test_restarts_are_bounded_and_the_reason_is_told(launcher: Launcher, tmp_path: Path) -> None:
    supervisor = Supervisor(launcher, QUICK, Told())
    with pytest.raises(ProcessError, match=r"worker died 3 times .exit code 1.: RuntimeError: start 3"):
        await supervisor.keep_running(python(failing_until(100, tmp_path), tmp_path))
    assert supervisor.restarts == {"worker": 2}


async def test_a_wrong_configuration_is_not_started_again(launcher: Launcher, tmp_path: Path) -> None:
    supervisor = Supervisor(launcher, QUICK, Told())
    code = "import sys; print('pronghorn actor: bus.host = 3: wrong', file=sys.stderr); sys.exit(2)"
    with pytest.raises(ProcessError, match=r"bus\.host = 3: wrong"):
        await supervisor.keep_running(python(code, tmp_path))
    assert not supervisor.restarts


async def test_a_process_that_must_succeed_ends_with_its_reason(launcher: Launcher, tmp_path: Path) -> None:
    supervisor = Supervisor(launcher, QUICK, Told())
    with pytest.raises(ProcessError, match="ValueError: the batch is empty"):
        await supervisor.finish(python("raise ValueError('the batch is empty')", tmp_path))
    await supervisor.finish(python("print('fine')", tmp_path))


async def test_a_cancelled_process_is_stopped_before_the_cancellation_goes_on(
    launcher: Launcher, tmp_path: Path
) -> None:
    ready = tmp_path / "ready"
    code = f"""
import signal, sys, pathlib
def leave(*_):
    pathlib.Path({str(tmp_path / "saved")!r}).touch()
    sys.exit(0)
signal.signal(signal.SIGINT, leave)
open({str(ready)!r}, "w").write("up")
signal.pause()
"""
    os.mkfifo(ready)
    supervisor = Supervisor(launcher, QUICK, Told())
    async with asyncio.TaskGroup() as group:
        task = group.create_task(supervisor.finish(python(code, tmp_path)))
        assert await asyncio.to_thread(ready.read_text) == "up"
        task.cancel()
    assert (tmp_path / "saved").exists()


async def test_a_process_that_is_cancelled_twice_is_killed_at_once(
    launcher: Launcher, tmp_path: Path
) -> None:
    ready = tmp_path / "ready"
    os.mkfifo(ready)
    code = f"""
import signal
def tell(*_):
    open({str(ready)!r}, "w").write("told")
signal.signal(signal.SIGINT, tell)
tell()
while True:
    signal.pause()
"""
    command = Command("worker", (sys.executable, "-c", code), tmp_path / "worker.log", stop_s=600.0)
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        task = group.create_task(Supervisor(launcher, QUICK, Told()).finish(command))
        await asyncio.to_thread(ready.read_text)
        task.cancel()
        await asyncio.to_thread(ready.read_text)
        task.cancel()
    _, alive = psutil.wait_procs(marked(launcher.mark), timeout=10)
    assert alive == []


def test_the_reason_is_the_last_error_of_the_last_start(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text(
        f"{START_LINE} 1\nKeyError: old\n{START_LINE} 2\nTraceback (most recent call last):\n"
        "  File 'x'\nlearner.Broken: no\nMemoryError: too large\n"
        "torch.distributed.elastic.multiprocessing.errors.ChildFailedError: \n====\nlast line\n"
    )
    assert reason_of(log) == "MemoryError: too large"
    log.write_text(f"{START_LINE}\nValueError: noise\npronghorn learner: no batch within 5 s\nmore\n")
    assert reason_of(log) == "no batch within 5 s"
    table = (
        "Root Cause:\n  exitcode  : -9 (pid: 7)\n  traceback : Signal 9 (SIGKILL) received by PID 7\n====\n"
    )
    log.write_text(f"{START_LINE}\n{table}")
    assert reason_of(log) == "Signal 9 (SIGKILL) received by PID 7"
    log.write_text("Root Cause (first observed failure):\n  rank      : 0\n  exitcode  : 1 (pid: 7)\n=====\n")
    assert reason_of(log) == "exitcode  : 1 (pid: 7)"
    log.write_text(f"{START_LINE}\n")
    assert reason_of(log) == "it wrote nothing"
    assert reason_of(tmp_path / "none") == "it left no log"


def test_an_exit_is_named() -> None:
    assert describe_exit(3) == "exit code 3"
    assert describe_exit(-signal.SIGKILL) == "killed by SIGKILL"
