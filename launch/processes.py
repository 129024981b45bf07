"""Child processes: each in a session of its own, with a log file, and no orphans.

Every child, and all that it starts, carries the mark of this launcher and its own name in its environment.
What is left when a child has died is found by that mark and killed, even in other sessions (torchrun
starts its ranks in new ones). A guard process does the same for the whole run when the launcher is killed.
"""

import asyncio
import os
import signal
import sys
import time
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar

from launch.guard import MARK, kill_marked

START_LINE = "=== started"
"""Written into a log before each start, so that no death is explained by the log of an earlier process."""


@dataclass(frozen=True)
class Command:
    """What to start, where its output goes, what it may use, and how long it may take to stop."""

    name: str
    arguments: tuple[str, ...]
    log: Path
    num_threads: int = 1
    """OpenMP threads."""
    cpu_cores: tuple[int, ...] = ()
    """Cores it is pinned to; empty: all."""
    stop_s: float = 20.0
    """After SIGINT, which roles answer by leaving in good order, it has this long before it is killed."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Further variables: what must not stand on a command line."""


class Child(Protocol):
    """A process that was started."""

    @property
    def pid(self) -> int:
        """Its id on the host where it runs."""
        ...

    async def wait(self) -> int:
        """Wait for its end; the exit code, negative for the signal that ended it."""
        ...


ChildT = TypeVar("ChildT", bound=Child)


class Starter(Protocol[ChildT]):
    """Who starts children: `Launcher` here, or on another host."""

    async def start(self, command: Command) -> ChildT:
        """See `Launcher.start`."""
        ...

    async def stop(self, process: ChildT, command: Command) -> None:
        """See `Launcher.stop`."""
        ...


class Launcher:
    """Starts and stops the children of one run; nothing that it started outlives it.

    async with Launcher.guarded() as launcher:
        process = await launcher.start(command)
        try:
            await process.wait()
        finally:
            await launcher.stop(process, command)
    """

    def __init__(self, mark: str) -> None:
        self.mark = mark

    @classmethod
    @asynccontextmanager
    async def guarded(cls) -> "AsyncIterator[Launcher]":
        """A launcher whose children die with it, even when it is killed with SIGKILL."""
        mark = f"{os.getpid()}-{uuid.uuid4().hex[:12]}"
        guard = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "launch.guard", mark, stdin=asyncio.subprocess.PIPE, start_new_session=True
        )
        try:
            yield cls(mark)
        finally:
            # The guard reads the end of its input, finds nothing left and leaves.
            assert guard.stdin is not None
            guard.stdin.close()
            await guard.wait()

    async def start(self, command: Command) -> asyncio.subprocess.Process:
        """Start it with stdout and stderr appended to its log file."""
        command.log.parent.mkdir(parents=True, exist_ok=True)
        with command.log.open("ab") as log:
            log.write(f"{START_LINE} {time.strftime('%Y-%m-%d %H:%M:%S')}\n".encode())
            log.flush()
            process = await asyncio.create_subprocess_exec(
                *command.arguments,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
                env=os.environ | self._environment(command),
            )
        if command.cpu_cores:
            # Before the interpreter has made a thread: all its threads and children inherit it.
            os.sched_setaffinity(process.pid, command.cpu_cores)
        return process

    async def stop(self, process: asyncio.subprocess.Process, command: Command) -> None:
        """Ask it to stop, wait at most `stop_s`, then kill it and all that it left behind."""
        try:
            if process.returncode is None:
                process.send_signal(signal.SIGINT)
                async with asyncio.timeout(command.stop_s):
                    await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
        finally:
            self.bury(command)

    def bury(self, command: Command) -> None:
        """Kill what a child left behind when it died."""
        kill_marked(self._mark_of(command), signal.SIGKILL)

    def _mark_of(self, command: Command) -> str:
        return f"{self.mark}/{command.name}/"

    def _environment(self, command: Command) -> dict[str, str]:
        return {
            MARK: self._mark_of(command),
            "OMP_NUM_THREADS": str(command.num_threads),
            # Threads that spin while they wait are slowed tenfold as soon as somebody wants their core.
            "OMP_WAIT_POLICY": "PASSIVE",
            "PYTHONUNBUFFERED": "1",
            # setproctitle (vLLM uses it) would write its title over the environment that holds the mark.
            "SPT_NOENV": "1",
            **command.environment,
        }
