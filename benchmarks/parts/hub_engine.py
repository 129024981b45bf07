"""The simulator of SciWorld played bare and through a hub: the same moves from the same states, in turns."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.parts.hub_process import RunningHub
from benchmarks.parts.hub_scripts import Script
from common.errors import EnvironmentFault
from envhub.client import HubClient, RemoteSession
from envhub.envs.sciworld.jvm import Jvm
from envhub.wire import Wire

WIRE: Wire = "msgpack"


@dataclass
class EngineRates:
    """Steps per second of each round."""

    engine: list[float] = field(default_factory=list)
    step: list[float] = field(default_factory=list)
    batch: list[float] = field(default_factory=list)


def against_engine(hub: RunningHub, scripts: Sequence[Script], moves: int) -> EngineRates:
    """Play `moves` moves of every script a round, for as many rounds as they have; the first is not counted.

    The engine is a JVM with one world for each script and nothing around it: a step, its score, whether the
    task is completed.
    """
    jvm = Jvm()
    try:
        with jvm.entered():
            worlds = [_world(jvm, script) for script in scripts]
            return asyncio.run(_against(hub, scripts, worlds, moves))
    finally:
        jvm.kill()


def _world(jvm: Jvm, script: Script) -> Any:
    name, _, variation = script.task.task.rpartition("-var")
    world = jvm.new_interface()
    world.load(name, int(variation), "", False)
    world.step("look around")
    return world


async def _against(
    hub: RunningHub, scripts: Sequence[Script], worlds: Sequence[Any], moves: int
) -> EngineRates:
    rates = EngineRates()
    client = HubClient(hub.url, deadline_s=120, calls_per_s=1e9, max_retries=0, wire=WIRE)
    async with client:
        alone = [await client.create(script.task, "plain") for script in scripts]
        together = [await client.create(script.task, "plain") for script in scripts]
        for first in range(0, len(scripts[0].actions) - moves + 1, moves):
            rows = [[script.actions[n] for script in scripts] for n in range(first, first + moves)]
            seconds = [_bare(worlds, rows), await _steps(alone, rows), await _batches(client, together, rows)]
            if first:
                for kept, taken in zip((rates.engine, rates.step, rates.batch), seconds, strict=True):
                    kept.append(len(rows) * len(scripts) / taken)
        for session in (*alone, *together):
            await session.close()
    return rates


def _bare(worlds: Sequence[Any], rows: Sequence[Sequence[str]]) -> float:
    began = time.perf_counter()
    for row in rows:
        for world, action in zip(worlds, row, strict=True):
            world.step(action)
            world.getScore()
            world.getCompleted()
    return time.perf_counter() - began


async def _steps(sessions: Sequence[RemoteSession], rows: Sequence[Sequence[str]]) -> float:
    async def play(session: RemoteSession, place: int) -> None:
        for row in rows:
            await session.step(row[place])

    began = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for place, session in enumerate(sessions):
            group.create_task(play(session, place))
    return time.perf_counter() - began


async def _batches(
    client: HubClient, sessions: Sequence[RemoteSession], rows: Sequence[Sequence[str]]
) -> float:
    began = time.perf_counter()
    for row in rows:
        for result in await client.step_many(list(zip(sessions, row, strict=True))):
            if isinstance(result, EnvironmentFault):
                raise result
    return time.perf_counter() - began
