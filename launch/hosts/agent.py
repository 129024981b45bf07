"""`python -m launch.hosts.agent`: one host's end of a run over several hosts; speaks over its own pipes.

The coordinator starts it through ssh or srun and tells it what to start, read and write. It dies when its
input ends, when it has heard nothing for `supervision.host_silence_s`, or when a newer agent of the same run
and host takes over; whatever it started dies with it, even when it is killed (`launch/guard.py`). The newer
one starts nothing before that is dead.
"""

import asyncio
import fcntl
import logging
import os
import signal
import sys
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import IO, Any

import psutil

from common.aio import background
from common.errors import PreflightError, PronghornError, ProtocolError
from common.log import configure_logging
from common.run_directory import RunDirectory
from common.version import __version__
from launch.guard import marked
from launch.hosts import checks
from launch.hosts.folder import HostFolder
from launch.hosts.following import Follower
from launch.hosts.wire import READY, Wire
from launch.processes import Command, Launcher
from launch.run_folder import has_reached

log = logging.getLogger(__name__)

MODULE = "launch.hosts.agent"
TAKE_OVER_S = 30.0
"""What the agent before this one has to leave, and then its processes to die."""
HELLO_S = 60.0
"""So long it waits for the first word; that says how long to wait for the others."""


class Agent:
    """Answers requests until the input ends."""

    def __init__(self, wire: Wire, launcher: Launcher) -> None:
        self._wire = wire
        self._launcher = launcher
        self._folder = HostFolder(Path("/nonexistent"))
        self._lock: IO[str] | None = None
        self._is_followed = False
        self._running: dict[str, tuple[asyncio.subprocess.Process, Command]] = {}
        self._probes = checks.Listeners()

    async def serve(self) -> None:
        """Until the coordinator is gone; then everything that still runs, or is being started, is stopped."""
        runs: set[asyncio.Task[None]] = set()
        try:
            async with asyncio.TaskGroup() as group:
                try:
                    async for message in self._wire.messages():
                        is_run = message.get("do") == "run"
                        answer = group.create_task(self._answer(message))
                        if is_run:
                            runs.add(answer)
                            answer.add_done_callback(runs.discard)
                except TimeoutError:
                    log.warning("heard nothing for %g s", self._wire.silence_s)
                # Nobody reads on: what grows is not to wait for a pipe that nobody empties.
                self._wire.abort()
                for run in runs:
                    run.cancel()
        finally:
            self._probes.close()

    async def _answer(self, message: dict[str, Any]) -> None:
        number, do = message.pop("id", 0), message.pop("do", "")
        try:
            work = getattr(self, f"do_{do}", None)
            if work is None:
                raise ProtocolError(f"{do!r} is nothing that an agent does")
            answer = {"id": number, "ok": await work(**message)}
        except PronghornError as error:
            answer = {"id": number, "error": str(error)}
        except OSError as error:
            answer = {"id": number, "error": f"{do}: {error}"}
        await self._wire.send(answer)

    async def do_ping(self) -> None:
        """Say that this end lives."""

    async def do_hello(self, *, name: str, directory: str, nonce: str, silence_s: float) -> dict[str, Any]:
        """Take the run folder over; the versions here, and whether it is the coordinator's own."""
        self._wire.silence_s = silence_s
        self._folder = HostFolder(Path(directory))
        await asyncio.to_thread(self._take_over, name)
        self._is_followed = not (self._folder.path / nonce).exists()
        return {
            "version": __version__,
            "python": sys.version.split()[0],
            "same_folder": not self._is_followed,
            "mark": self._launcher.mark,
        }

    def _take_over(self, name: str) -> None:
        file = self._folder.inside(f"hosts/{name}.lock")
        file.parent.mkdir(parents=True, exist_ok=True)
        self._lock = file.open("a+")
        deadline = time.monotonic() + TAKE_OVER_S
        while True:
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                holder, _ = self._holder()
                if time.monotonic() > deadline:
                    raise PreflightError(f"the agent before this one (pid {holder}) does not stop") from None
                with suppress(psutil.Error, ValueError):
                    before = psutil.Process(int(holder))
                    if MODULE in before.cmdline():  # by now the number may be another process's
                        before.terminate()
                time.sleep(0.5)
        _, mark = self._holder()
        while mark and (left := marked(mark)):  # its guard is at work
            if time.monotonic() > deadline:
                raise PreflightError(
                    f"what the agent before this one started (pid {left[0].pid}) does not stop"
                )
            psutil.wait_procs(left, timeout=0.5)
        self._lock.truncate(0)
        self._lock.write(f"{os.getpid()} {self._launcher.mark}\n")
        self._lock.flush()

    def _holder(self) -> tuple[str, str]:
        """Process and mark of the agent that wrote the lock's file last; empty before the first."""
        assert self._lock is not None
        self._lock.seek(0)
        pid, _, mark = self._lock.read().strip().partition(" ")
        return pid, mark

    async def do_check(self, *, config: dict[str, Any], roles: list[str]) -> list[str]:
        """What keeps this host from playing its roles, one line each."""
        return await asyncio.to_thread(checks.problems, config, roles)

    async def do_sees(self, *, file: str, text: str) -> bool:
        """Whether a file that another agent wrote is here too."""
        return await asyncio.to_thread(checks.sees, Path(file), text)

    async def do_listen(self, *, address: str, ports: list[int]) -> list[int]:
        """Hold these ports, free ones for 0, until `do_unlisten`; who connects is greeted."""
        return await self._probes.listen(address, ports)

    async def do_probe(self, *, address: str, port: int) -> str:
        """Why a port that another agent holds is not reached from here; empty when it is."""
        return await checks.reach(address, port)

    async def do_unlisten(self) -> None:
        """Free the ports."""
        self._probes.close()

    async def do_is_trained(self, *, steps: int) -> bool:
        """Whether the run folder holds a finished run of so many steps."""
        return await asyncio.to_thread(has_reached, RunDirectory(self._folder.path), steps)

    async def do_digest(self, *, names: list[str]) -> dict[str, str]:
        """See `HostFolder.digest`."""
        return await asyncio.to_thread(self._folder.digest, names)

    async def do_read(self, *, name: str, offset: int) -> bytes:
        """See `HostFolder.read`."""
        return await asyncio.to_thread(self._folder.read, name, offset)

    async def do_write(self, *, name: str, offset: int, data: bytes, is_secret: bool) -> None:
        """See `HostFolder.write`."""
        await asyncio.to_thread(partial(self._folder.write, name, offset, data, is_secret=is_secret))

    async def do_accept(self, *, name: str, checksum: str) -> None:
        """See `HostFolder.accept`."""
        await asyncio.to_thread(self._folder.accept, name, checksum)

    async def do_keep_only(self, *, folder: str, names: list[str]) -> None:
        """See `HostFolder.keep_only`; nothing where both share the folder."""
        if self._is_followed:
            await asyncio.to_thread(self._folder.keep_only, folder, names)

    async def do_run(
        self,
        *,
        name: str,
        arguments: list[str],
        environment: dict[str, str],
        follows: dict[str, int],
        cpu_cores: list[int],
        num_threads: int,
        stop_s: float,
    ) -> int:
        """Run Python to its end and say how it ended.

        `follows`: its log first, then files that it makes, each with how much of it the coordinator has; they
        are sent as they grow, unless both share the folder.
        """
        command = Command(
            name,
            (sys.executable, *arguments),
            self._folder.inside(next(iter(follows))),
            environment=environment,
            cpu_cores=tuple(cpu_cores),
            num_threads=num_threads,
            stop_s=stop_s,
        )
        followers = [Follower(self._wire, self._folder.path, *item) for item in follows.items()]
        followers = followers if self._is_followed else []
        process = await self._launcher.start(command)
        self._running[name] = process, command
        try:
            async with background(*(follower.follow() for follower in followers)):
                code = await process.wait()
            for follower in followers:
                await follower.send_new()
            return code
        finally:
            await self._launcher.stop(process, command)
            del self._running[name]

    async def do_stop(self, *, name: str) -> None:
        """Ask a command to stop, and kill it when it takes longer than it may."""
        if name in self._running:
            await self._launcher.stop(*self._running[name])

    async def do_kill(self, *, name: str) -> None:
        """Kill a command and all that it started."""
        if name in self._running:
            self._launcher.bury(self._running[name][1])


async def _main() -> None:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    # What anything prints goes to stderr: stdout belongs to the messages.
    out = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    transport, protocol = await loop.connect_write_pipe(asyncio.streams.FlowControlMixin, out)
    writer = asyncio.StreamWriter(transport, protocol, None, loop)
    writer.write(READY)
    async with Launcher.guarded() as launcher:
        await Agent(Wire(reader, writer, HELLO_S), launcher).serve()


def main() -> None:
    """Serve until the coordinator is gone. A terminal's Ctrl-C is the coordinator's business."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    configure_logging("agent")
    asyncio.run(_main())


if __name__ == "__main__":
    main()
