"""A client of a hub, in a process of its own: what a hub answers, how fast, and whose processors it takes."""

import asyncio
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace

from benchmarks.parts.hub_lanes import Lanes
from benchmarks.parts.hub_modes import Batches, Here, Mode, Steps, Way
from benchmarks.parts.hub_process import Cpu, RunningHub
from benchmarks.parts.hub_scripts import Script
from envhub.client import HubClient
from envhub.wire import Wire


@dataclass(frozen=True)
class Cell:
    """What to measure: `repetitions` times each mode in turn, `seconds` each."""

    hub: RunningHub
    scripts: tuple[Script, ...]
    num_sessions: int
    wire: Wire
    modes: tuple[Mode, ...]
    seconds: float
    repetitions: int
    open_s: float
    """Sessions are opened for at most so long at a time; what is played are those that there are then."""
    limit_s: float
    """A mode that was measured once is not measured again when so much time has passed."""


@dataclass
class Played:
    """What one mode came to."""

    num_sessions: int = 0
    rates: list[float] = field(default_factory=list)
    """Steps per second of each repetition."""
    latencies_s: list[float] = field(default_factory=list)
    """Of every call: of a step, or of a batch."""
    steps: int = 0
    seconds: float = 0.0
    cpu: Cpu = field(default_factory=Cpu)

    async def add(self, way: Way, hub: RunningHub, seconds: float) -> None:
        """Play for `seconds` more, in as many stretches as it takes."""
        steps, passed = 0, 0.0
        while passed < seconds:
            await way.prepare()
            others, own, began = hub.cpu(), time.process_time(), time.perf_counter()
            steps += await way.run(began + seconds - passed, self.latencies_s)
            passed += time.perf_counter() - began
            own = time.process_time() - own
            self.cpu += replace(hub.cpu() - others, client=own)
        self.rates.append(steps / passed)
        self.steps += steps
        self.seconds += passed


def play(cell: Cell) -> dict[Mode, Played]:
    """Measure a cell; what the client's process is asked to do."""
    return asyncio.run(_play(cell))


async def _play(cell: Cell) -> dict[Mode, Played]:
    played: dict[Mode, Played] = {mode: Played() for mode in cell.modes}
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(
            HubClient(cell.hub.url, deadline_s=120, calls_per_s=1e9, max_retries=0, wire=cell.wire)
        )
        lanes, here = Lanes(client, cell.scripts, cell.num_sessions, cell.open_s), Here(cell.scripts)
        stack.push_async_callback(lanes.close)
        stack.callback(here.close)
        ways: dict[Mode, Way] = {"here": here, "step": Steps(lanes), "batch": Batches(lanes, client)}
        began = time.monotonic()
        for _ in range(cell.repetitions):
            for mode, result in played.items():
                if time.monotonic() - began < cell.limit_s or not result.rates:
                    await result.add(ways[mode], cell.hub, cell.seconds)
                    result.num_sessions = len(lanes.lanes)
    return played
