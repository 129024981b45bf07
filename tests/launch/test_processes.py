"""Children are started, stopped in bounded time, and never outlive the launcher, however it ends."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from launch.guard import marked
from launch.processes import Command, Launcher

STUBBORN = """
import signal
signal.signal(signal.SIGINT, signal.SIG_IGN)
print('up', flush=True)
signal.pause()
"""
POLITE = """
import signal, sys
def leave(*_):
    print('left', flush=True)
    sys.exit(0)
signal.signal(signal.SIGINT, leave)
print('up', flush=True)
signal.pause()
"""
PARENT_OF_ANOTHER_SESSION = """
import subprocess, sys
child = subprocess.Popen([sys.executable, '-c', 'import signal; signal.pause()'], start_new_session=True)
print('child', child.pid, flush=True)
child.wait()
"""
TITLED = """
import signal, setproctitle
setproctitle.setproctitle('a title that is longer than what the command line had room for ' * 4)
print('up', flush=True)
signal.pause()
"""


def python(name: str, code: str, folder: Path, **options: object) -> Command:
    return Command(name, (sys.executable, "-c", code), folder / f"{name}.log", **options)  # type: ignore[arg-type]


async def line_in(log: Path, start: str) -> str:
    """The first line of a log that begins so; the log is followed by `tail`, not polled."""
    tail = await asyncio.create_subprocess_exec(
        "tail", "-n", "+1", "-F", str(log), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    assert tail.stdout is not None
    try:
        async with asyncio.timeout(20):
            while True:
                line = (await tail.stdout.readline()).decode().strip()
                if line.startswith(start):
                    return line
    finally:
        tail.kill()
        await tail.wait()


@pytest.fixture
async def launcher() -> AsyncIterator[Launcher]:
    async with Launcher.guarded() as guarded:
        yield guarded


async def test_a_child_that_answers_sigint_leaves_by_itself(launcher: Launcher, tmp_path: Path) -> None:
    command = python("polite", POLITE, tmp_path, stop_s=20.0)
    process = await launcher.start(command)
    await line_in(command.log, "up")
    await launcher.stop(process, command)
    assert process.returncode == 0
    assert "left" in command.log.read_text()


async def test_a_child_that_ignores_sigint_is_killed_after_its_time(
    launcher: Launcher, tmp_path: Path
) -> None:
    command = python("stubborn", STUBBORN, tmp_path, stop_s=0.2)
    process = await launcher.start(command)
    await line_in(command.log, "up")
    await launcher.stop(process, command)
    assert process.returncode == -signal.SIGKILL


async def test_what_a_killed_child_started_in_another_session_dies_with_it(
    launcher: Launcher, tmp_path: Path
) -> None:
    command = python("parent", PARENT_OF_ANOTHER_SESSION, tmp_path)
    process = await launcher.start(command)
    grandchild = psutil.Process(int((await line_in(command.log, "child")).split()[1]))
    process.kill()
    await process.wait()
    assert grandchild.is_running()
    await launcher.stop(process, command)
    await asyncio.to_thread(psutil.wait_procs, [grandchild], timeout=10)
    assert not grandchild.is_running() or grandchild.status() == psutil.STATUS_ZOMBIE


async def test_a_process_that_renames_itself_keeps_its_mark(launcher: Launcher, tmp_path: Path) -> None:
    pytest.importorskip("setproctitle")
    command = python("titled", TITLED, tmp_path)
    process = await launcher.start(command)
    await line_in(command.log, "up")
    assert [p.pid for p in marked(f"{launcher.mark}/titled/")] == [process.pid]
    process.kill()
    await launcher.stop(process, command)


async def test_threads_and_cores_are_those_of_the_command(launcher: Launcher, tmp_path: Path) -> None:
    core = min(os.sched_getaffinity(0))
    threads = "os.environ['OMP_NUM_THREADS']"
    code = f"import os; print('cores', sorted(os.sched_getaffinity(0)), {threads}, flush=True)"
    command = python(
        "pinned", f"import sys; sys.stdin.read(); {code}", tmp_path, num_threads=3, cpu_cores=(core,)
    )
    process = await launcher.start(command)
    await process.wait()
    assert await line_in(command.log, "cores") == f"cores [{core}] 3"


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
async def test_no_child_outlives_a_launcher_that_was_killed(tmp_path: Path, how: signal.Signals) -> None:
    launcher_code = f"""
import asyncio, sys
from pathlib import Path
from launch.processes import Command, Launcher
async def main():
    async with Launcher.guarded() as launcher:
        for name in ("one", "two"):
            code = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); signal.pause()"
            await launcher.start(Command(name, (sys.executable, "-c", code), Path({str(tmp_path)!r}) / name))
        print("mark", launcher.mark, flush=True)
        await asyncio.Event().wait()
asyncio.run(main())
"""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", launcher_code, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]
    )
    assert process.stdout is not None
    mark = (await process.stdout.readline()).decode().split()[1]
    children = marked(mark)
    assert len(children) == 2
    process.send_signal(how)
    await process.wait()
    _, alive = await asyncio.to_thread(psutil.wait_procs, children, timeout=30)
    assert not alive
