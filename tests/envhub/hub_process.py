"""Hubs in processes of their own, to be killed and started again."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from envhub.client import HubClient
from envhub.config import TOKEN_VARIABLE

START_S = 60.0


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


class HubProcess:
    """`python -m envhub` on a port that stays the same however often it is started."""

    def __init__(self, *settings: str, token: str = "") -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.token = token
        self._settings = settings
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    async def start(self) -> None:
        """Return when it answers."""
        environment = {**os.environ, TOKEN_VARIABLE: self.token}
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "envhub", f"--port={self.port}", *self._settings),
            cwd=Path(__file__).parents[2],
            env=environment,
            stderr=asyncio.subprocess.DEVNULL,
        )
        async with HubClient(self.url, deadline_s=START_S, calls_per_s=100, max_retries=0) as client:
            assert await client.healthy(START_S)

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    async def kill(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()


@asynccontextmanager
async def hubs(number: int, *settings: str, token: str = "") -> AsyncIterator[tuple[HubProcess, ...]]:
    """So many of them, all answering; killed at the end."""
    made = tuple(HubProcess(*settings, token=token) for _ in range(number))
    try:
        async with asyncio.TaskGroup() as group:
            for one in made:
                group.create_task(one.start())
        yield made
    finally:
        for one in made:
            await one.kill()
