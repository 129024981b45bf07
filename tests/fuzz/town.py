"""A learner and an honest actor at work in a thread of their own, while a test attacks from outside."""

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import psutil

from common.aio import background
from common.bus.config import BusConfig
from common.bus.tcp import TcpLearnerBus
from common.bus.tcp_actor import TcpActorBus
from common.messages import PolicyAnnouncement, Ready, Sampling
from tests.contracts.nets import Files, manifest_of

ResultT = TypeVar("ResultT")

NUM_BYTES = 200_000
"""Of the weights that the honest actor fetches."""


def resident_mb() -> float:
    """What this process holds in memory."""
    return float(psutil.Process().memory_info().rss) / 1e6


class Town:
    """`check` says whether the honest actor is still served on all three channels."""

    def __init__(self, config: BusConfig, actor_keys: str, folder: Path) -> None:
        files = Files()
        files.files[1] = folder / "weights"
        files.files[1].write_bytes(bytes(NUM_BYTES))
        self._copy = folder / "copy"
        self._actor_keys = actor_keys
        self._loop = asyncio.new_event_loop()
        self._heard: asyncio.Queue[int] = asyncio.Queue()
        self._credits = 0
        self.learner = TcpLearnerBus(config, "town", files)
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._live(),))
        self._is_up = threading.Event()
        self._thread.start()
        assert self._is_up.wait(20)

    @property
    def config(self) -> BusConfig:
        """With the ports, and with a key that is admitted."""
        return self.learner.config.model_copy(update={"keys": self._actor_keys})

    @property
    def refused(self) -> int:
        return self.learner.refused

    async def _live(self) -> None:
        await self.learner.start()
        self.actor = TcpActorBus(self.config, "honest")
        async with background(self._receive()):
            await self.actor.start()
            self._is_up.set()
            await self._stop.wait()
        await self.actor.close()
        await self.learner.close()

    async def _receive(self) -> None:
        while True:
            actor, message = await self.learner.receive()
            if actor == "honest" and isinstance(message, Ready):
                self._heard.put_nowait(message.credits)

    def run(self, work: Coroutine[Any, Any, ResultT]) -> ResultT:
        """Run `work` beside learner and actor."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    def check(self) -> None:
        """The honest actor is heard, hears the newest policy and gets its weights."""
        self.run(self._check())

    async def _check(self) -> None:
        self._credits += 1
        async with asyncio.timeout(20):
            await self.actor.send(Ready(credits=self._credits))
            while await self._heard.get() != self._credits:
                pass
            await self.learner.announce(
                PolicyAnnouncement(version=self._credits, horizon=1, sampling=Sampling())
            )
            while (await self.actor.next_policy()).version != self._credits:
                pass
            await self.actor.fetch_weights(manifest_of(1, NUM_BYTES), self._copy)
        assert self._copy.stat().st_size == NUM_BYTES

    def close(self) -> None:
        """End it; raises what went wrong inside."""
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(20)
        assert not self._thread.is_alive()
        self._loop.close()


@contextmanager
def town(config: BusConfig, folder: Path, actor_keys: str = "") -> Iterator[Town]:
    """A town that is at work for as long as the body runs, and unharmed at its end."""
    made = Town(config, actor_keys, folder)
    try:
        yield made
        made.check()
    finally:
        made.close()
