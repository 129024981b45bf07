"""Places where sessions of a hub are played side by side; in each, one script after the other.

A session is replaced when its script is played out, between what is measured. Several are opened ahead in
each lane where scripts are short, so that a measured stretch is not.
"""

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from benchmarks.parts.hub_scripts import Script
from envhub.client import HubClient, RemoteSession

STRETCH_STEPS = 500
"""That all lanes have left together, at least, when they were filled."""
AT_ONCE = 8
"""Sessions that are opened, or closed, side by side."""

T = TypeVar("T")


@dataclass
class Play:
    """A session and the moves it has left."""

    session: RemoteSession
    script: Script
    num_played: int = 0

    @property
    def num_left(self) -> int:
        """Moves until its script is played out."""
        return len(self.script.actions) - self.num_played

    def move(self) -> str:
        """The next move; it counts as played."""
        self.num_played += 1
        return self.script.actions[self.num_played - 1]


Lane = list[Play]


class Lanes:
    """At most `num` lanes; `open_s` after `fill` began it opens no more, and empty lanes are given up."""

    def __init__(self, client: HubClient, scripts: Iterable[Script], num: int, open_s: float) -> None:
        self.lanes: list[Lane] = [[] for _ in range(num)]
        self._client, self._open_s = client, open_s
        self._scripts = itertools.cycle(scripts)
        length = len(next(self._scripts).actions)
        self._depth = max(1, STRETCH_STEPS // (num * length))

    async def fill(self) -> None:
        """When a lane has nothing left to play, replace all that is played out."""
        if all(any(play.num_left for play in lane) for lane in self.lanes):
            return
        await self._close([play for lane in self.lanes for play in lane if not play.num_left])
        for lane in self.lanes:
            lane[:] = [play for play in lane if play.num_left]
        deadline = time.monotonic() + self._open_s

        async def open_in(lane: Lane) -> None:
            if time.monotonic() < deadline or not any(self.lanes):
                script = next(self._scripts)
                lane.append(Play(await self._client.create(script.task, "plain"), script))

        # The first of every lane before the second of any.
        wanted = [lane for depth in range(self._depth) for lane in self.lanes if len(lane) <= depth]
        await _few_at_once(open_in, wanted)
        self.lanes = [lane for lane in self.lanes if lane]

    async def close(self) -> None:
        """Close every session."""
        await self._close([play for lane in self.lanes for play in lane])

    async def _close(self, plays: Iterable[Play]) -> None:
        await _few_at_once(lambda play: play.session.close(), plays)


def turns(lane: Lane) -> Iterator[Play]:
    """A play for every move that the lane has left, in order."""
    for play in lane:
        for _ in range(play.num_left):
            yield play


async def _few_at_once(call: Callable[[T], Awaitable[None]], items: Iterable[T]) -> None:
    waiting = iter(items)

    async def some() -> None:
        for item in waiting:
            await call(item)

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(some())
