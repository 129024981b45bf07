"""One hub of several, as this process sees it: whether it answers, how busy it is, what it plays.

`watch` asks the hub for its load, for ever, and nobody else asks a hub that does not answer: there is one
probe, with growing pauses, and everyone else waits for what it finds.
"""

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Final

from common.errors import EnvironmentFault
from envhub.answers import LoadAnswer
from envhub.client import HubClient
from envhub.transport import HubUnavailable

FIRST_PAUSE_S: Final = 0.1
MIN_BUSY_S: Final = 0.1
"""A hub that had no room, and did not say for how long, is not asked for room before."""

_log = logging.getLogger(__name__)


class Member:
    """What is known of one hub; `changed` is called whenever that is something new."""

    def __init__(
        self, url: str, chance: random.Random, probe_s: float, max_pause_s: float, changed: Callable[[], None]
    ) -> None:
        self.url = url
        self.client: HubClient
        """Set by whoever made this member, at once: the client tells it what it could not reach."""
        self.was_asked = False
        """Whether it has been looked at, with whatever result."""
        self.is_up = False
        self.reason = "not yet asked"
        """Why it is not up."""
        self.environments: frozenset[str] = frozenset()
        self.digests: dict[str, str] = {}
        """Environment -> of this process of the hub."""
        self._load = 0.0
        self._num_opened = 0
        self._max_sessions = 1
        self._process = ""
        self.refusals: dict[str, str] = {}
        """Environment -> why it could not serve it when it was asked last."""
        self._busy_until: dict[str, float] = {}
        self._chance, self._changed = chance, changed
        self._probe_s, self._max_pause_s = probe_s, max_pause_s
        self._suspected = asyncio.Event()
        self._waits: set[asyncio.Timeout] = set()
        """Of those who wait for its answers: cut short when it is lost."""

    @property
    def load(self) -> float:
        """The share of its sessions that are in play; what was opened here since it was asked is added."""
        return self._load + self._num_opened / self._max_sessions

    def has_room(self, environment: str) -> bool:
        """Whether it is worth asking now for a session of the environment."""
        is_free = self._busy_until.get(environment, 0.0) <= time.monotonic()
        return self.is_up and environment in self.environments and is_free

    def opened(self) -> None:
        """A session began there."""
        self._num_opened += 1

    def full(self, environment: str, after_s: float, reason: str) -> None:
        """It could not serve the environment, and is not asked again before so long."""
        self.refusals[environment] = reason
        self._busy_until[environment] = time.monotonic() + max(after_s, MIN_BUSY_S)

    def suspect(self, reason: str) -> None:
        """Something did not reach it: it is out until a probe, made at once, says otherwise."""
        if self.is_up:
            self._down(reason)
            self._suspected.set()

    @asynccontextmanager
    async def while_up(self) -> AsyncIterator[None]:
        """Run the body as long as the hub is up; HubUnavailable as soon as it is not."""
        try:
            if not self.is_up:
                raise TimeoutError
            async with asyncio.timeout(None) as wait:
                self._waits.add(wait)
                try:
                    yield
                finally:
                    self._waits.discard(wait)
        except TimeoutError:
            raise HubUnavailable(f"hub {self.url}: {self.reason}") from None

    async def watch(self) -> None:
        """Ask for its load, for ever: every `probe_s` while it answers, with growing pauses while not."""
        pause_s = FIRST_PAUSE_S
        while True:
            self._suspected.clear()
            try:
                found = await self.client.load(self._probe_s)
            except EnvironmentFault as fault:
                self._down(str(fault))
                wait_s = pause_s * self._chance.uniform(0.5, 1.0)
                pause_s = min(2 * pause_s, self._max_pause_s)
            else:
                self._up(found)
                wait_s, pause_s = self._probe_s, FIRST_PAUSE_S
            self.was_asked = True
            self._changed()
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._suspected.wait()

    def _up(self, found: LoadAnswer) -> None:
        if found.status == "draining":
            self._down("it is shutting down")
            return
        if found.hub != self._process:
            self._process = found.hub
            self.digests.clear()
            self._busy_until.clear()
        self._load, self._max_sessions = found.sessions / found.max_sessions, found.max_sessions
        self._num_opened = 0
        self.environments = frozenset(found.environments)
        if not self.is_up:
            self.is_up = True
            _log.info("hub joined url=%s sessions=%d", self.url, found.sessions)

    def _down(self, reason: str) -> None:
        if self.is_up or not self.was_asked:
            _log.warning("hub left url=%s reason=%s", self.url, reason)
        self.is_up, self.reason = False, reason
        while self._waits:
            self._waits.pop().reschedule(0)
        self._changed()
