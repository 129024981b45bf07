"""The coordinator's connection to one host's agent: requests out, answers and growing files back."""

import asyncio
import logging
import os
import shlex
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

from common.aio import background
from common.errors import PreflightError, PronghornError
from launch.hosts.placement import Host
from launch.hosts.wire import MAX_GREETING_BYTES, PINGS_PER_SILENCE, READY, Wire
from launch.processes import Command

log = logging.getLogger(__name__)

ROOT = Path(__file__).parents[2]
SSH = "ssh -o BatchMode=yes -o ConnectTimeout=15 -o ServerAliveInterval=15 -o ServerAliveCountMax=4"
SSH_VARIABLE = "PRONGHORN_SSH"
"""Replaces `ssh` and its options; called with what ssh would be: a host and one command line."""
START_S = 60.0
"""An agent that has not answered within this is given up."""
LEAVE_S = 90.0
"""After its input ended an agent has this long to stop what it started and leave."""


class HostLost(PronghornError):  # noqa: N818 - an event, not a mistake
    """The connection to a host is gone; its agent stops what runs there, if it still lives."""


def remote_command(host: Host, *, is_slurm: bool = False) -> list[str]:
    """What starts the host's agent."""
    root = host.root or str(ROOT)
    python = host.python or (f"{host.root}/.venv/bin/python" if host.root else sys.executable)
    line = f"cd {shlex.quote(root)} && exec {shlex.quote(python)} -m launch.hosts.agent"
    if host.target == "localhost":
        return ["sh", "-c", line]
    if is_slurm:
        # Slurm would keep back what ends in no newline, and may pin a single task to a single core.
        options = ["--overlap", "--unbuffered", "--cpu-bind=none", "-w", host.target, "-N1", "-n1"]
        return ["srun", *options, "sh", "-c", line]
    return [*shlex.split(os.environ.get(SSH_VARIABLE, SSH)), host.target, line]


class Link:
    """One live connection; every call raises HostLost once it is gone."""

    def __init__(self, host: Host, wire: Wire, gathered: Path) -> None:
        self.host = host
        self.same_folder = False
        """Whether the run folder there is the coordinator's own."""
        self.mark = ""
        """What its agent wrote into `hosts/NAME.lock` of the run folder there."""
        self.has_policy = False
        """Whether policy zero was brought there."""
        self.lost = asyncio.Event()
        self._wire = wire
        self._gathered = gathered
        self._numbers = count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}

    @classmethod
    @asynccontextmanager
    async def opened(
        cls, host: Host, command: list[str], gathered: Path, said: Path, silence_s: float
    ) -> "AsyncIterator[Link]":
        """A connection; what the agent or ssh says on stderr is appended to `said`, files go to `gathered`.

        PreflightError when no agent answers. It is lost when it ends or was silent for `silence_s`. Else, at
        the end, the agent's input ends, and it may stop what it started.
        """
        said.parent.mkdir(parents=True, exist_ok=True)
        with said.open("ab") as errors:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=errors,
                start_new_session=True,  # a terminal's Ctrl-C is for the coordinator alone
                limit=MAX_GREETING_BYTES,
            )
        assert process.stdin is not None
        assert process.stdout is not None
        link = cls(host, Wire(process.stdout, process.stdin, silence_s), gathered)
        # Who never answered, or was lost, is not waited for: ssh itself would notice a cut line much later.
        leave_s = 0.0
        try:
            await _greeted(process.stdout, host, said)
            async with background(link._read(), link._ping()):
                try:
                    yield link
                finally:
                    leave_s = 0.0 if link.lost.is_set() else LEAVE_S
        finally:
            link._lose()
            process.stdin.close()
            with suppress(TimeoutError):
                await _left(process, leave_s)

    async def begin(self, do: str, **arguments: Any) -> "asyncio.Future[Any]":
        """Ask; what is returned becomes the agent's answer, or PreflightError that names the host."""
        if self.lost.is_set():
            raise HostLost(f"{self.host.name}: the connection is gone")
        number = next(self._numbers)
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        future.add_done_callback(lambda done: self._forget(number, done))
        await self._wire.send({"id": number, "do": do, **arguments})
        return future

    def _forget(self, number: int, done: "asyncio.Future[Any]") -> None:
        self._waiting.pop(number, None)
        if not done.cancelled():
            done.exception()  # who waits is told; nobody may be waiting for the end of what was killed

    async def request(self, do: str, **arguments: Any) -> Any:
        """The agent's answer."""
        return await (await self.begin(do, **arguments))

    def post(self, do: str, **arguments: Any) -> None:
        """Ask without waiting for the answer."""
        if not self.lost.is_set():
            self._wire.post({"id": 0, "do": do, **arguments})

    async def _read(self) -> None:
        try:
            async for message in self._wire.messages():
                if message.get("event") == "file":
                    await asyncio.to_thread(self._keep, message)
                elif (future := self._waiting.get(message.get("id", 0))) and not future.done():
                    if "error" in message:
                        future.set_exception(PreflightError(f"{self.host.name}: {message['error']}"))
                    else:
                        future.set_result(message.get("ok"))
        except TimeoutError:
            log.warning("heard nothing host=%s seconds=%g", self.host.name, self._wire.silence_s)
        finally:
            self._lose()

    async def _ping(self) -> None:
        while not self.lost.is_set():
            self.post("ping")
            await asyncio.sleep(self._wire.silence_s / PINGS_PER_SILENCE)

    def _keep(self, event: dict[str, Any]) -> None:
        """A piece of a file of the host's run folder goes to the same place here."""
        path = (self._gathered / event["name"]).resolve()
        if self._gathered.resolve() not in path.parents:
            raise PronghornError(
                f"{self.host.name} sent a file for {event['name']!r}, outside the run folder"
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("r+b" if path.exists() else "w+b") as file:
            file.seek(event["offset"])
            file.write(event["data"])
            file.truncate()

    def _lose(self) -> None:
        self.lost.set()
        for future in list(self._waiting.values()):
            if not future.done():
                future.set_exception(HostLost(f"{self.host.name}: the connection was lost"))


async def _left(process: asyncio.subprocess.Process, leave_s: float) -> None:
    try:
        async with asyncio.timeout(leave_s):
            await process.wait()
    finally:
        if process.returncode is None:
            process.kill()


async def _greeted(reader: asyncio.StreamReader, host: Host, said: Path) -> None:
    try:
        async with asyncio.timeout(START_S):
            await reader.readuntil(READY)
    except TimeoutError:
        raise PreflightError(f"{host.name}: no answer within {START_S:g} s [{said}]") from None
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        reason = await asyncio.to_thread(_last_line, said)
        raise PreflightError(f"{host.name}: no agent started there: {reason} [{said}]") from None


def _last_line(file: Path) -> str:
    return (file.read_text(errors="replace").strip().splitlines() or ["it said nothing"])[-1]


class RemoteChild:
    """A command that runs on a host."""

    pid = 0
    """It has one, there."""

    def __init__(self, end: "asyncio.Future[int]") -> None:
        self.end = end

    async def wait(self) -> int:
        """Its exit code; HostLost when the host is gone."""
        return await asyncio.shield(self.end)


class RemoteLauncher:
    """`Starter` on a host: runs a command's arguments with the Python there; its log grows here too.

    `follows` are further files of the run folder that commands write there and that are wanted here.
    """

    def __init__(self, link: Link, folder: Path, follows: tuple[str, ...] = ()) -> None:
        self._link = link
        self._folder = folder
        self._follows = follows

    async def start(self, command: Command) -> RemoteChild:
        """See `Launcher.start`."""
        files = (command.log, *(self._folder / name for name in self._follows))
        have = {str(file.relative_to(self._folder)): _size(file) for file in files}
        end = await self._link.begin(
            "run",
            name=command.name,
            arguments=list(command.arguments),
            environment=dict(command.environment),
            follows=have,
            cpu_cores=list(command.cpu_cores),
            num_threads=command.num_threads,
            stop_s=command.stop_s,
        )
        return RemoteChild(end)

    async def stop(self, process: RemoteChild, command: Command) -> None:
        """See `Launcher.stop`; where the host is gone its agent does that."""
        try:
            if not process.end.done():
                await self._link.request("stop", name=command.name)
                await process.wait()
        except HostLost:
            return
        finally:
            self.kill(process, command)

    def kill(self, process: RemoteChild, command: Command) -> None:
        """Kill it and all that it started, without waiting for its end; nothing when it has ended."""
        if not process.end.done():
            self._link.post("kill", name=command.name)


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0
