"""Traffic for a hub: clients that create, step and close, in `/v1` and in AgentGym's dialects, and that die.

What a cycle does follows from the seed and its number alone; who comes first does not.
"""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final, Literal, Self
from urllib.parse import urlsplit

import aiohttp

from envhub.agentgym.door import mount

Door = Literal["v1", "dialect"]
Death = Literal["none", "abandons", "dies_sending", "dies_waiting"]
"""Whether the session is closed; left open; or its connection cut in the middle of a request or before the
answer to it."""

MAX_STEPS: Final = 4
NUM_TASKS: Final = 40
"""Of each environment; so many that all are played while it warms up."""

MOVES: Final[Mapping[str, tuple[str, ...]]] = {
    "alfworld": ("look", "inventory", "go to fridge 1", "dance"),
    "babyai": ("turn left", "move forward", "pickup", "dance"),
    "guess_number": ("guess 1", "guess 32", "guess 63", "dance"),
    "maze": ("move up", "move down", "move left", "dance"),
    "sciworld": ("look around", "inventory", "open door to hallway", "dance"),
    "textcraft": ("inventory", "get 1 oak logs", "craft 4 oak planks using 1 oak logs", "dance"),
    "wordle": ("c r a n e", "s l o t h", "p u d g y", "dance"),
}
"""Actions that are cheap, some of which mean nothing."""


@dataclass(frozen=True)
class Mix:
    """Who plays what: shares of the cycles, by environment and by how their clients die."""

    environments: Mapping[str, float]
    deaths: Mapping[Death, float]
    at_once: Mapping[str, int] = field(default_factory=dict)
    """Environments that only so many clients play at a time, lest all wait for them."""
    dialect_share: float = 0.3
    seed: int = 0


@dataclass(frozen=True)
class Cycle:
    """One client's life."""

    environment: str
    index: int
    door: Door
    death: Death
    moves: tuple[str, ...]


def cycle(mix: Mix, number: int) -> Cycle:
    """Cycle `number`; the same for the same mix."""
    random = Random(f"{mix.seed}/{number}")
    name = random.choices(list(mix.environments), list(mix.environments.values()))[0]
    death = random.choices(list(mix.deaths), list(mix.deaths.values()))[0]
    door: Door = "dialect" if random.random() < mix.dialect_share else "v1"
    moves = tuple(random.choice(MOVES[name]) for _ in range(random.randint(1, MAX_STEPS)))
    return Cycle(name, random.randrange(NUM_TASKS), door, death, moves)


@dataclass
class Tally:
    """What became of the cycles."""

    cycles: Counter[str] = field(default_factory=Counter)
    """By environment and door."""
    deaths: Counter[str] = field(default_factory=Counter)
    refusals: Counter[str] = field(default_factory=Counter)
    """By the hub's code; of a dialect, which has none, `dialect`."""
    steps: int = 0


class Refused(Exception):  # noqa: N818 - an answer, not an error
    """The hub said no; ordinary while workers are killed."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class Traffic:
    """Clients of one hub; use it as an async context manager."""

    def __init__(self, url: str, mix: Mix) -> None:
        self.tally = Tally()
        self._url, self._mix = url, mix
        self._tasks: dict[str, list[str]] = {}
        self._places = {name: asyncio.Semaphore(num) for name, num in mix.at_once.items()}
        self._http: aiohttp.ClientSession

    async def __aenter__(self) -> Self:
        self._http = aiohttp.ClientSession(self._url, timeout=aiohttp.ClientTimeout(total=120))
        for name in self._mix.environments:
            found = await self._call("GET", f"/v1/environments/{name}/tasks?limit={NUM_TASKS}")
            self._tasks[name] = [task["name"] for task in found["tasks"]]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.close()

    async def warm_up(self, limit_s: float) -> None:
        """Play every task in both doors, of each environment for at most so long; nothing is counted."""
        for name, tasks in self._tasks.items():
            deadline = time.monotonic() + limit_s
            for index in range(len(tasks)):
                await self._live(Cycle(name, index, "v1", "none", MOVES[name]))
                await self._live(Cycle(name, index, "dialect", "none", MOVES[name]))
                if time.monotonic() >= deadline:
                    break
        self.tally = Tally()

    async def play(self, numbers: Iterator[int], at_once: int) -> None:
        """Play the cycles of these numbers, `at_once` side by side."""

        async def client() -> None:
            for number in numbers:
                await self._cycle(cycle(self._mix, number))

        async with asyncio.TaskGroup() as group:
            for _ in range(at_once):
                group.create_task(client())

    async def _cycle(self, one: Cycle) -> None:
        place = self._places.get(one.environment)
        try:
            if place is None:
                await self._live(one)
            else:
                async with place:
                    await self._live(one)
        except Refused as refused:
            self.tally.refusals[refused.code] += 1
        self.tally.cycles[f"{one.environment} {one.door}"] += 1
        if one.death != "none":
            self.tally.deaths[one.death] += 1

    async def _live(self, one: Cycle) -> None:
        play = self._v1 if one.door == "v1" else self._dialect
        await play(one)

    async def _v1(self, one: Cycle) -> None:
        body = {"environment": one.environment, "task": self._task(one)}
        opened = await self._call("POST", "/v1/sessions", body)
        path = f"/v1/sessions/{opened['session']}"
        for index, move in enumerate(one.moves):
            step = {"index": index, "action": move}
            if one.death.startswith("dies") and index == len(one.moves) - 1:
                await self._die(one.death, f"{path}/step", step)
                return
            self.tally.steps += 1
            result = await self._call("POST", f"{path}/step", step)
            if result["is_terminated"] or result["is_truncated"]:
                break
        if one.death == "none":
            await self._call("DELETE", path)

    async def _dialect(self, one: Cycle) -> None:
        place = f"/{mount(one.environment)}"
        created = await self._call("POST", f"{place}/create", {})
        identity = created["id"]
        await self._call("POST", f"{place}/reset", {"id": identity, "data_idx": self._task(one)})
        for index, move in enumerate(one.moves):
            step = {"id": identity, "action": move}
            if one.death.startswith("dies") and index == len(one.moves) - 1:
                await self._die(one.death, f"{place}/step", step)
                return
            self.tally.steps += 1
            if (await self._call("POST", f"{place}/step", step))["done"]:
                break
        if one.death == "none":
            await self._call("POST", f"{place}/close", {"id": identity})

    def _task(self, one: Cycle) -> str:
        tasks = self._tasks[one.environment]
        return tasks[one.index % len(tasks)]

    async def _call(self, method: str, path: str, body: Any = None) -> Any:
        async with self._http.request(method, path, json=body) as response:
            answer = await response.json(content_type=None)
        if isinstance(answer, dict) and answer.get("error"):
            error = answer["error"]
            raise Refused(error["code"] if isinstance(error, dict) else "dialect")
        return answer

    async def _die(self, death: Death, path: str, body: Any) -> None:
        """Cut a connection of its own with half of a request sent, or all of it and no answer read."""
        where = urlsplit(self._url)
        _, writer = await asyncio.open_connection(where.hostname, where.port)
        content = json.dumps(body).encode()
        head = f"POST {path} HTTP/1.1\r\nHost: {where.netloc}\r\nContent-Type: application/json\r\n"
        request = f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content
        writer.write(request if death == "dies_waiting" else request[: len(request) - len(content) // 2])
        await writer.drain()
        writer.transport.abort()
