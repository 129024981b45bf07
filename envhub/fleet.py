"""Several hubs as one: a session goes to one that answers, has the environment and is less busy than others.

    async with HubFleet(urls, ...) as hub:
        session = await hub.create(task, "react")     # on whichever hub has room
        await session.step("look")                    # on that hub: a session never moves

Hubs leave and join while actors play. The sessions of a hub that died are lost, each an EnvironmentFault, and
those of no other. One loop per hub observes it (`envhub/member.py`) for as long as the fleet is open; a
call waits for a hub for at most `deadline_s`.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from typing import Final, Self, TypeVar

from common.aio import background
from common.errors import EnvironmentFault
from common.trajectory import TaskReference
from envhub.answers import EnvironmentInfo
from envhub.client import HubClient, RemoteSession
from envhub.hub import references
from envhub.member import Member
from envhub.task import Task
from envhub.transport import HubUnavailable, Throttlers
from envhub.wire import Wire

ResultT = TypeVar("ResultT")

_LOOK_S: Final = 1.0
"""When no hub will do, what there is is looked at again after so long, or as soon as something changed."""

_log = logging.getLogger(__name__)


class HubFleet:
    """A `Hub` over several of them; the limits of `calls_per_s` hold over all hubs together.

    Of two hubs drawn at random the less busy one is taken: of three or more, actors that all know the same
    somewhat old figures do not rush to the same one. `seed` makes what is drawn repeatable.
    A hub whose tasks are not those of the first in the list that answered is ignored for that environment.
    """

    def __init__(
        self,
        urls: tuple[str, ...],
        *,
        deadline_s: float,
        calls_per_s: float,
        max_retries: int,
        probe_s: float,
        max_pause_s: float,
        token: str = "",
        wire: Wire = "json",
        seed: int = 0,
    ) -> None:
        self._chance = random.Random(seed)
        self._deadline_s = deadline_s
        self._changed = asyncio.Event()
        self._agreeing = asyncio.Lock()
        self._reference: dict[str, tuple[str, str]] = {}
        """Environment -> digest, and the hub whose digest it is."""
        self._stack = AsyncExitStack()
        throttlers = Throttlers(calls_per_s)
        self.members = tuple(
            Member(url, self._chance, probe_s, max_pause_s, self._changed.set) for url in urls
        )
        for member in self.members:
            member.client = HubClient(
                member.url,
                deadline_s=deadline_s,
                calls_per_s=calls_per_s,
                max_retries=max_retries,
                token=token,
                wire=wire,
                throttlers=throttlers,
                unreachable=member.suspect,
            )

    async def __aenter__(self) -> Self:
        for member in self.members:
            await self._stack.enter_async_context(member.client)
        await self._stack.enter_async_context(background(*(member.watch() for member in self.members)))
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._stack.__aexit__(*error)  # type: ignore[arg-type]

    async def create(self, task: TaskReference, action_format: str) -> RemoteSession:
        """Begin an episode on one of the hubs; EnvironmentFault when none had room before the deadline."""

        async def begin(member: Member) -> RemoteSession:
            session = await member.client.create(task, action_format, max_retries=0)
            member.opened()
            return session

        return await self._anywhere(task.environment, begin)

    async def describe(self, environment: str) -> EnvironmentInfo:
        """What is known about an environment."""
        return await self._anywhere(environment, lambda member: member.client.describe(environment))

    async def catalogue(
        self, environment: str, split: str, depths: tuple[int, ...] = (), limit: int = 0
    ) -> list[Task]:
        """As `Hub.catalogue`."""
        return await self._anywhere(
            environment, lambda member: member.client.catalogue(environment, split, depths, limit)
        )

    async def tasks(
        self, environment: str, split: str, depths: tuple[int, ...] = (), limit: int = 0
    ) -> list[TaskReference]:
        """As `Hub.tasks`."""
        return references(environment, await self.catalogue(environment, split, depths, limit))

    async def vocabulary(self, environment: str) -> list[str]:
        """As `Hub.vocabulary`."""
        return await self._anywhere(environment, lambda member: member.client.vocabulary(environment))

    async def healthy(self, deadline_s: float) -> bool:
        """Wait until one of the hubs answers, at most until the deadline; whether one did. Never raises."""
        with suppress(TimeoutError):
            async with asyncio.timeout(deadline_s):
                while not any(member.is_up for member in self.members):
                    await self.something_new()
        return any(member.is_up for member in self.members)

    async def _anywhere(self, environment: str, ask: Callable[[Member], Awaitable[ResultT]]) -> ResultT:
        """The first answer; a hub that cannot is passed over until every other has been asked."""
        passed: set[Member] = set()
        try:
            async with asyncio.timeout(self._deadline_s):
                while not all(member.was_asked for member in self.members):
                    await self.something_new()
                while True:
                    member = await self._choose(environment, passed)
                    if member is None:
                        passed.clear()
                        await self.something_new()
                        continue
                    try:
                        async with member.while_up():
                            return await ask(member)
                    except HubUnavailable as fault:
                        passed.add(member)
                        if member.is_up:
                            member.full(environment, fault.after_s, str(fault))
        except TimeoutError:
            why = "; ".join(f"{m.url}: {self._why_not(m, environment)}" for m in self.members)
            raise EnvironmentFault(
                f"no hub could serve {environment[:80]!r} within {self._deadline_s:g} s: {why}"
            ) from None

    async def _choose(self, environment: str, passed: set[Member]) -> Member | None:
        able = [m for m in self.members if m not in passed and m.has_room(environment)]
        drawn = self._chance.sample(able, min(2, len(able)))
        for member in sorted(drawn, key=lambda member: member.load):
            if await self._agrees(member, environment):
                return member
            passed.add(member)
        # Those drawn play something else: the others may do.
        return await self._choose(environment, passed) if drawn else None

    async def _agrees(self, member: Member, environment: str) -> bool:
        """Whether it plays the same tasks as the others; asked once for each of its lives."""
        if environment not in member.digests:
            async with self._agreeing:
                for other in self.members:
                    if environment not in other.digests and other.has_room(environment):
                        await self._ask_digest(other, environment)
        return environment in member.digests and not self._differs(member, environment)

    def _differs(self, member: Member, environment: str) -> bool:
        digest, _ = self._reference.get(environment, ("", ""))
        return member.digests.get(environment, digest) != digest

    async def _ask_digest(self, member: Member, environment: str) -> None:
        try:
            async with member.while_up():
                found = (await member.client.describe(environment)).digest
        except EnvironmentFault as fault:
            _log.warning("hub passed over url=%s environment=%s reason=%s", member.url, environment, fault)
            member.full(environment, _LOOK_S, str(fault))
            return
        member.digests[environment] = found
        self._reference.setdefault(environment, (found, member.url))
        if self._differs(member, environment):
            reason = self._why_not(member, environment)
            _log.error("hub ignored url=%s environment=%s reason=%s", member.url, environment, reason)

    def _why_not(self, member: Member, environment: str) -> str:
        if not member.is_up:
            return member.reason
        if environment not in member.environments:
            return "does not serve it"
        if self._differs(member, environment):
            return f"its tasks or its version are not those that {self._reference[environment][1]} had first"
        return member.refusals.get(environment, "was not asked in time")

    async def something_new(self) -> None:
        """Wait until a hub joined, left or was asked again; at most `_LOOK_S`."""
        self._changed.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(_LOOK_S):
                await self._changed.wait()
