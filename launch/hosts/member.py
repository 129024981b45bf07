"""One host of a run as the coordinator sees it: its connection, made again whenever it is lost."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

from common.aio import background, within
from common.errors import PreflightError, PronghornError
from common.version import __version__
from launch.hosts.link import HostLost, Link, remote_command
from launch.hosts.placement import Host

log = logging.getLogger(__name__)

FIRST_PAUSE_S = 1.0
MAX_PAUSE_S = 30.0


class Member:
    """Keeps the connection to one host; `connected` waits for it."""

    def __init__(self, host: Host, directory: str, silence_s: float, *, is_slurm: bool) -> None:
        self.host = host
        self._silence_s = silence_s
        self.directory = directory
        """`run.directory` there."""
        self.first: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        """Empty when the first attempt succeeded, else why it did not."""
        self.link: Link | None = None
        self.filling = asyncio.Lock()
        """Held by who copies policy zero there."""
        self.delivering = asyncio.Lock()
        """Held by who sends what the roles need: after each connection, and when keys have changed."""
        self._command = remote_command(host, is_slurm=is_slurm)
        self._is_up = asyncio.Event()

    async def connected(self) -> Link:
        """The connection, once the host has all that its roles need."""
        while True:
            await self._is_up.wait()
            if self.link is not None and not self.link.lost.is_set():
                return self.link
            await asyncio.sleep(0)  # it is lost, and `stay` is about to say so

    def live(self) -> Link:
        """The connection that was there a moment ago; PreflightError when it was lost meanwhile."""
        if self.link is None:
            raise PreflightError(f"{self.host.name}: was lost while it was being checked")
        return self.link

    async def back(self, limit_s: float) -> Link:
        """`connected` of a host with ranks of the learner; PreflightError when it stays away for so long."""
        what = f"{self.host.name}, which holds ranks of the learner, is away and"
        return await within(limit_s, self.connected(), what, PreflightError)

    async def stay(
        self,
        run: str,
        folder: Path,
        nonce: str,
        deliver: Callable[["Member", Link], Awaitable[None]],
        notice: Callable[[str], None],
    ) -> None:
        """Endless: connect, `deliver` what the roles need, and again when the connection is lost."""
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                said = folder / "logs" / f"{self.host.name}-agent.log"
                async with Link.opened(self.host, self._command, folder, said, self._silence_s) as link:
                    await self._greet(link, run, nonce)
                    async with background(self._become_ready(link, deliver)):
                        await link.lost.wait()
                reason = "the connection was lost"
                pause_s = FIRST_PAUSE_S
            except (PronghornError, OSError) as error:
                reason = str(error)
            self.link = None
            self._is_up.clear()
            if not self.first.done():
                self.first.set_result(reason)
            log.warning("lost host=%s reason=%s pause_s=%g", self.host.name, reason, pause_s)
            notice(f"{self.host.name} is away: {reason}; trying again")
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, MAX_PAUSE_S)

    async def _greet(self, link: Link, run: str, nonce: str) -> None:
        directory = str(Path(self.directory) / run)
        facts = await link.request(
            "hello", name=self.host.name, directory=directory, nonce=nonce, silence_s=self._silence_s
        )
        if facts["version"] != __version__:
            raise PreflightError(f"{self.host.name}: has Pronghorn {facts['version']}, here is {__version__}")
        link.same_folder, link.mark = facts["same_folder"], facts["mark"]
        self.link = link
        log.info(
            "connected host=%s python=%s same_folder=%s", self.host.name, facts["python"], link.same_folder
        )
        if not self.first.done():
            self.first.set_result("")

    async def _become_ready(self, link: Link, deliver: Callable[["Member", Link], Awaitable[None]]) -> None:
        try:
            await deliver(self, link)
        except HostLost:
            return
        self._is_up.set()
