"""Every open id of the AgentGym dialects: whose it is, which session plays it, and one caller at a time.

An id begins without an episode; `reset` opens a session of the hub for it, and closes the one before. Ids end
when they are closed or when nobody touches them for the time to live.
"""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from common.trajectory import TaskReference
from envhub.agentgym.dialect import Reward
from envhub.agentgym.view import View
from envhub.refusal import HubRefusal

MAX_ID = 2**53 - 1
"""The largest whole number that every JSON reader keeps exactly."""

_NEVER_RESET = "there is no episode yet: reset comes first"
_LOST = "the episode is lost; reset begins another"
_GONE_STATUS = (404, 410)


class Sessions(Protocol):
    """What is needed of `envhub.session_table.SessionTable`; every refusal is a HubRefusal."""

    async def open(self, task: TaskReference, action_format: str, owner: str = "") -> dict[str, Any]:
        """A new session with its first observation."""
        ...

    async def step(self, identity: str, index: int, action: str, owner: str = "") -> dict[str, Any]:
        """Play a turn."""
        ...

    async def ask(self, identity: str, operation: str, owner: str = "") -> Any:
        """Something about the state."""
        ...

    async def close(self, identity: str, owner: str = "") -> None:
        """Give a session up."""
        ...

    async def indexed(self, environment: str, index: int) -> dict[str, Any]:
        """The task of AgentGym's index."""
        ...

    async def find_task(self, environment: str, name: str) -> dict[str, Any]:
        """The task of a name."""
        ...


@dataclass
class Play:
    """One id."""

    view: View
    owner: str
    used_at: float
    session: str = ""
    """Of the hub; empty while there is no episode."""
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class Plays:
    """The ids of all dialects; at most `max_ids`, each for `ttl_s` after its last use."""

    def __init__(
        self,
        sessions: Sessions,
        ttl_s: float,
        max_ids: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sessions, self._ttl_s, self._max_ids, self._clock = sessions, ttl_s, max_ids, clock
        self._plays: dict[int, Play] = {}

    def __len__(self) -> int:
        """Open ids."""
        return len(self._plays)

    def create(self, environment: str, owner: str) -> Play:
        """A new unguessable id, never 0; `hub_full` when there are too many."""
        if len(self._plays) >= self._max_ids:
            raise HubRefusal("hub_full", f"all {self._max_ids} ids of the AgentGym dialects are in use")
        identity = 0
        while identity == 0 or identity in self._plays:
            identity = secrets.randbelow(MAX_ID + 1)
        view = View(id=identity, environment=environment, observation=_NEVER_RESET, opening=_NEVER_RESET)
        self._plays[identity] = Play(view, owner, self._clock())
        return self._plays[identity]

    def find(self, identity: int, environment: str, owner: str) -> Play:
        """An open id of that owner; `unknown_session` for any other, whatever became of it."""
        play = self._plays.get(identity)
        if play is None or play.owner != owner or play.view.environment != environment:
            raise HubRefusal("unknown_session", "no such id is open: it was closed, expired, or never was")
        play.used_at = self._clock()
        return play

    def ids(self, environment: str, owner: str) -> tuple[int, ...]:
        """The open ids of an owner; none of the nameless, who must not learn each other's."""
        return tuple(
            identity
            for identity, play in self._plays.items()
            if owner and play.owner == owner and play.view.environment == environment
        )

    async def task(self, environment: str, wanted: int | str) -> dict[str, Any]:
        """The task of an index or a name; `unknown_task` when there is none."""
        if isinstance(wanted, int):
            return await self._sessions.indexed(environment, wanted)
        return await self._sessions.find_task(environment, wanted)

    async def reset(self, play: Play, task: dict[str, Any], asks: Iterable[str] = ()) -> View:
        """Begin the task; the episode before is given up even when the new one is refused."""
        async with self._alone(play):
            await self._end_episode(play)
            await self._begin(play, task)
            return await self._asked(play, asks)

    async def step(self, play: Play, action: str, reward: Reward, asks: Iterable[str] = ()) -> View:
        """Play one action; `episode_over` after the end, where the view stays as it was."""
        async with self._alone(play):
            self._check_begun(play)
            if play.view.done:
                raise HubRefusal("episode_over", "the episode is over; reset begins another")
            with self._loss_noted(play):
                result = await self._sessions.step(play.session, play.view.moves, action, play.owner)
            play.view = replace(
                play.view,
                observation=result["observation"],
                reward=reward(result, play.view.score),
                score=result["score"],
                done=result["is_terminated"] or result["is_truncated"],
                truncated=result["is_truncated"],
                moves=play.view.moves + 1,
            )
            return await self._asked(play, asks)

    async def look(self, play: Play, asks: Iterable[str]) -> View:
        """The view with what the episode is asked for beside.

        The hub's session is always asked, be it for what was shown last: so an id that is only looked at does
        not outlive its session.
        """
        async with self._alone(play):
            self._check_begun(play)
            return await self._asked(play, tuple(asks) or ("observation",))

    async def close(self, play: Play) -> None:
        """End an id and its episode, once."""
        async with self._alone(play):
            del self._plays[play.view.id]
            await self._end_episode(play)

    async def preview(self, play: Play, asks: Iterable[str]) -> View:
        """As `look`; before the first reset what the environment's task 0 would show, and nothing stays."""
        async with self._alone(play):
            if play.session:
                return await self._asked(play, asks)
            shown = Play(play.view, play.owner, play.used_at)
            await self._begin(shown, await self.task(play.view.environment, 0))
            try:
                return await self._asked(shown, asks)
            finally:
                await self._end_episode(shown)

    async def sweep(self, now: float) -> int:
        """Close the ids that nobody has touched for the time to live; how many they were."""
        oldest = now - self._ttl_s
        idle = [play for play in self._plays.values() if play.used_at < oldest]
        num_closed = 0
        for play in idle:
            # Closing the others took a while.
            if play.used_at < oldest and not play.lock.locked():
                with suppress(HubRefusal):
                    await self.close(play)
                    num_closed += 1
        return num_closed

    @asynccontextmanager
    async def _alone(self, play: Play) -> AsyncIterator[None]:
        """One caller at a time; whoever waited for an id that was closed meanwhile has no id."""
        async with play.lock:
            if self._plays.get(play.view.id) is not play:
                raise HubRefusal("unknown_session", "the id was closed meanwhile")
            yield
            play.used_at = self._clock()

    async def _begin(self, play: Play, task: dict[str, Any]) -> None:
        reference = TaskReference(environment=play.view.environment, task=task["name"])
        opened = await self._sessions.open(reference, "plain", play.owner)
        play.session = opened["session"]
        play.view = View(
            id=play.view.id,
            environment=play.view.environment,
            task=task["name"],
            kind=task["kind"],
            opening=opened["observation"],
            observation=opened["observation"],
        )

    async def _asked(self, play: Play, asks: Iterable[str]) -> View:
        found = {}
        with self._loss_noted(play, is_read=True):
            for what in asks:
                found[what] = await self._sessions.ask(play.session, what, play.owner)
        return replace(play.view, **found)

    async def _end_episode(self, play: Play) -> None:
        """A session that is gone already, or breaks while it is closed, is as good as closed."""
        session, play.session = play.session, ""
        if session:
            with suppress(HubRefusal):
                await self._sessions.close(session, play.owner)

    def _check_begun(self, play: Play) -> None:
        if not play.session:
            raise HubRefusal("unknown_session", _LOST if play.view.task else _NEVER_RESET)

    @contextmanager
    def _loss_noted(self, play: Play, *, is_read: bool = False) -> Iterator[None]:
        """An episode that only broke while it was read goes on."""
        try:
            yield
        except HubRefusal as refusal:
            is_playable = is_read and refusal.code == "environment_fault"
            if refusal.status in _GONE_STATUS and not is_playable:
                play.session = ""
            raise
