"""A hub in a process of its own, as `pronghorn hub` starts it, and what it and its workers use."""

import asyncio
import os
import socket
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from common.errors import PreflightError
from envhub.client import HubClient
from envhub.config import TOKEN_VARIABLE

START_S = 60.0
END_S = 20.0


@dataclass(frozen=True)
class Cpu:
    """Processor seconds by who used them."""

    client: float = 0.0
    hub: float = 0.0
    workers: float = 0.0
    """With what they started, such as a Java machine."""

    def __add__(self, other: "Cpu") -> "Cpu":
        return Cpu(self.client + other.client, self.hub + other.hub, self.workers + other.workers)

    def __sub__(self, other: "Cpu") -> "Cpu":
        return Cpu(self.client - other.client, self.hub - other.hub, self.workers - other.workers)


@dataclass(frozen=True)
class RunningHub:
    """Where it listens, and its process."""

    url: str
    pid: int

    def cpu(self) -> Cpu:
        """What the hub and its workers have used so far, in hundredths of a second."""
        workers = sum(_used(process) for process in self.descendants())
        return Cpu(hub=_used(psutil.Process(self.pid)), workers=workers)

    def descendants(self) -> list[psutil.Process]:
        """The workers and what they started."""
        found: list[psutil.Process] = psutil.Process(self.pid).children(recursive=True)
        return found


def _used(process: psutil.Process) -> float:
    with suppress(psutil.NoSuchProcess):
        times = process.cpu_times()
        return float(times.user + times.system)
    return 0.0


@asynccontextmanager
async def running_hub(settings: str) -> AsyncIterator[RunningHub]:
    """A hub on a free port of this machine with `settings`, the lines of its table in TOML.

    PreflightError when it does not answer within `START_S`. After the body it is ended, or killed.
    """
    port = _free_port()
    url = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "hub.toml"
        file.write_text(f"[hub]\nport = {port}\n{settings}\n")
        free = {name: value for name, value in os.environ.items() if name != TOKEN_VARIABLE}
        command = (sys.executable, "-m", "envhub", str(file))
        process = await asyncio.create_subprocess_exec(*command, env=free, stdout=asyncio.subprocess.DEVNULL)
        try:
            async with HubClient(url, deadline_s=START_S, calls_per_s=100, max_retries=3) as client:
                if not await client.healthy(START_S):
                    raise PreflightError(f"the hub did not answer within {START_S:g} s")
            yield RunningHub(url, process.pid)
        finally:
            await _end(process)


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.terminate()
    try:
        async with asyncio.timeout(END_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
