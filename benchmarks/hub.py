"""How many steps per second the environment hub serves, how long one takes, and what limits it.

Sessions of each environment are played side by side through a hub in a process of its own, by a client in
another: one HTTP request for each step, or one for a step of every session. The moves are prepared. In the
same run they are played without a hub (`here`), and SciWorld's simulator is played bare: what the hub costs
is a ratio of the two. Each cell is measured several times, its modes in turn.
"""

import asyncio
import json
import multiprocessing
import statistics
from collections.abc import Awaitable, Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, Final

from benchmarks.parts.hub_engine import EngineRates, against_engine
from benchmarks.parts.hub_modes import Mode
from benchmarks.parts.hub_player import Cell, play
from benchmarks.parts.hub_process import RunningHub, running_hub
from benchmarks.parts.hub_scripts import Script, scripts
from benchmarks.parts.hub_table import Row, show
from benchmarks.report import Report, parse
from common.errors import ConfigurationError, EnvironmentFault, PreflightError
from envhub.refusal import HubRefusal
from envhub.wire import Wire

ENVIRONMENTS: Final = ("textcraft", "babyai", "sciworld", "alfworld", "maze", "wordle")
SESSIONS: Final = (1, 16, 64, 256)
COMPARED: Final = 64
"""Sessions at which the hub is compared with no hub; TextCraft also on the other wire."""
GOAL_RATE: Final = 3000.0
"""Steps per second of TextCraft, at `COMPARED` sessions on 2 cores."""
GOAL_SHARE: Final = 0.8
"""Of the simulator's own rate, through the hub."""
REPETITIONS: Final = 3
OPEN_S: Final = 15.0
LIMIT_S: Final = 20.0
NUM_SCRIPTS: Final = {"sciworld": 8}
"""Otherwise 16. An expert's path of SciWorld takes seconds to find."""
ENGINE_MOVES: Final = 8

Call = Callable[..., Awaitable[Any]]


class HubBenchmark:
    """What has been measured so far."""

    def __init__(self, call: Call, seconds: float, sessions: tuple[int, ...]) -> None:
        self.rows: list[Row] = []
        self.missing: dict[str, str] = {}
        self.engine: EngineRates | None = None
        self._call, self._seconds, self._sessions = call, seconds, sessions

    async def measure(self, name: str) -> None:
        """Everything of one environment, on a hub of its own; or why it is missing."""
        print(f"hub: {name}", flush=True)
        try:
            await self._measure(name)
        except (ConfigurationError, EnvironmentFault, PreflightError) as error:
            self.missing[name] = str(error)

    async def _measure(self, name: str) -> None:
        prepared = await self._call(scripts, name, NUM_SCRIPTS.get(name, 16))
        async with running_hub(f'environments = ["{name}"]\nmax_sessions = 4096') as hub:
            for num in self._sessions:
                await self._cell(hub, prepared, num, "json")
                if (name, num) == ("textcraft", COMPARED):
                    await self._cell(hub, prepared, num, "msgpack")
            if name == "sciworld":
                self.engine = await self._call(against_engine, hub, prepared, ENGINE_MOVES)

    async def _cell(self, hub: RunningHub, prepared: tuple[Script, ...], num: int, wire: Wire) -> None:
        modes: tuple[Mode, ...] = ("here", "step", "batch") if num == COMPARED else ("step", "batch")
        cell = Cell(hub, prepared, num, wire, modes, self._seconds, REPETITIONS, OPEN_S, LIMIT_S)
        for mode, played in (await self._call(play, cell)).items():
            name = prepared[0].task.environment
            self.rows.append(Row(name, num, wire, mode, played))

    def add_figures(self, report: Report) -> None:
        """Rates at `COMPARED` sessions, what the hub costs, and the goals."""
        rates = {(r.environment, r.wire, r.mode): r.rate for r in self.rows if r.asked == COMPARED}
        for (name, wire, mode), rate in rates.items():
            goal = {"at_least": GOAL_RATE} if name == "textcraft" and mode != "here" else {}
            place = "without_a_hub" if mode == "here" else f"{mode}_{wire}"
            if mode != "here" or wire == "json":
                report.add(f"hub_{name}_{place}_steps_per_s", rate, "1/s", **goal)
        for (name, wire, mode), rate in rates.items():
            if mode != "here" and wire == "json":
                cost = rates[name, wire, "here"] / rate
                report.add(f"hub_{name}_without_a_hub_over_{mode}", cost, "times")
        if self.engine is not None:
            report.add("hub_sciworld_engine_steps_per_s", statistics.median(self.engine.engine), "1/s")
            for mode, found in (("step", self.engine.step), ("batch", self.engine.batch)):
                shares = [rate / own for rate, own in zip(found, self.engine.engine, strict=True)]
                middle = statistics.median(shares)
                report.add(f"hub_sciworld_{mode}_over_engine", middle, "", at_least=GOAL_SHARE)
                report.add(f"hub_sciworld_{mode}_over_engine_spread", max(shares) - min(shares), "")

    def write(self, file: Path) -> None:
        """Add every cell to the file of figures."""
        content = json.loads(file.read_text())
        content["cells"] = [row.json() for row in self.rows]
        content["missing"] = self.missing
        file.write_text(json.dumps(content, indent=2) + "\n")


def plainly(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call it; a refusal becomes a fault, which can travel between processes."""
    try:
        return function(*arguments)
    except HubRefusal as refusal:
        raise EnvironmentFault(str(refusal)) from None


async def run(environments: tuple[str, ...], seconds: float, sessions: tuple[int, ...]) -> HubBenchmark:
    """Measure them one after the other; the client's process is the same for all modes of an environment."""
    loop = asyncio.get_running_loop()
    spawning = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawning) as pool:

        async def call(function: Callable[..., Any], *arguments: Any) -> Any:
            return await loop.run_in_executor(pool, plainly, function, *arguments)

        benchmark = HubBenchmark(call, seconds, sessions)
        for name in environments:
            await benchmark.measure(name)
    return benchmark


def main() -> None:
    """Measure what is asked for and print the rows, then the figures with their goals."""
    arguments = parse(
        __doc__,
        ("--environments", {"default": ",".join(ENVIRONMENTS), "metavar": "A,B"}),
        ("--seconds", {"type": float, "default": 1.0, "help": "of each repetition"}),
        ("--sessions", {"default": ",".join(map(str, SESSIONS)), "metavar": "N,M"}),
    )
    sessions = tuple(int(num) for num in arguments.sessions.split(","))
    benchmark = asyncio.run(run(tuple(arguments.environments.split(",")), arguments.seconds, sessions))
    show(benchmark.rows, benchmark.missing)
    report = Report("hub")
    benchmark.add_figures(report)
    report.finish(arguments.json)
    if arguments.json is not None:
        benchmark.write(arguments.json)


if __name__ == "__main__":
    main()
