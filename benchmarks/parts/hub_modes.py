"""Three ways to play the same moves: without a hub, one request for each step, one request for many steps.

Each `prepare`s what is not measured, then `run`s until a deadline or until a lane is played out.
"""

import asyncio
import time
from collections.abc import Iterable
from typing import Literal, Protocol

from benchmarks.parts.hub_lanes import Lane, Lanes, turns
from benchmarks.parts.hub_scripts import Script
from common.errors import EnvironmentFault
from envhub import registry
from envhub.client import HubClient
from envhub.session import Session

Mode = Literal["here", "step", "batch"]


class Way(Protocol):
    """How to play; `run` gives the number of steps, and adds the seconds of each call to `latencies_s`."""

    async def prepare(self) -> None:
        """Open what is needed."""
        ...

    async def run(self, deadline: float, latencies_s: list[float]) -> int:
        """Play until `deadline`, by time.perf_counter."""
        ...


class Here:
    """In this process, one session after the other."""

    def __init__(self, scripts: Iterable[Script]) -> None:
        self._scripts = tuple(scripts)
        self._sessions: list[Session] = []

    async def prepare(self) -> None:
        """Begin every script anew."""
        self.close()
        self._sessions = [
            Session(registry.environment(script.task.environment), script.task, "plain")
            for script in self._scripts
        ]

    async def run(self, deadline: float, latencies_s: list[float]) -> int:
        """Play the first move of each, then the second of each, and so on."""
        before = len(latencies_s)
        for index in range(len(self._scripts[0].actions)):
            for session, script in zip(self._sessions, self._scripts, strict=True):
                began = time.perf_counter()
                session.step(index, script.actions[index])
                latencies_s.append(time.perf_counter() - began)
            if time.perf_counter() >= deadline:
                break
        return len(latencies_s) - before

    def close(self) -> None:
        """End the sessions."""
        for session in self._sessions:
            session.close()
        self._sessions = []


class Steps:
    """One HTTP request for each step; every lane waits for its own answer only."""

    def __init__(self, lanes: Lanes) -> None:
        self._lanes = lanes

    async def prepare(self) -> None:
        """Fill the lanes."""
        await self._lanes.fill()

    async def run(self, deadline: float, latencies_s: list[float]) -> int:
        """All lanes side by side; when one is played out, all stop."""
        before, is_over = len(latencies_s), asyncio.Event()

        async def run_lane(lane: Lane) -> None:
            for play in turns(lane):
                began = time.perf_counter()
                if is_over.is_set() or began >= deadline:
                    return
                await play.session.step(play.move())
                latencies_s.append(time.perf_counter() - began)
            is_over.set()

        async with asyncio.TaskGroup() as group:
            for lane in self._lanes.lanes:
                group.create_task(run_lane(lane))
        return len(latencies_s) - before


class Batches:
    """One HTTP request for a step of every lane, one request at a time."""

    def __init__(self, lanes: Lanes, client: HubClient) -> None:
        self._lanes, self._client = lanes, client

    async def prepare(self) -> None:
        """Fill the lanes."""
        await self._lanes.fill()

    async def run(self, deadline: float, latencies_s: list[float]) -> int:
        """Until a lane is played out. EnvironmentFault when a step was refused."""
        num_steps = 0
        for plays in zip(*map(turns, self._lanes.lanes), strict=False):
            began = time.perf_counter()
            if began >= deadline:
                break
            results = await self._client.step_many([(play.session, play.move()) for play in plays])
            latencies_s.append(time.perf_counter() - began)
            num_steps += len(plays)
            for result in results:
                if isinstance(result, EnvironmentFault):
                    raise result
        return num_steps
