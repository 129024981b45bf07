"""A day's traffic in minutes: create, reset, step, close, with clients that die and workers that are killed.

Sessions, memory, open files, processes and Java machines must return to what they were after a warm-up.
Workers are killed in the first half only, so that the second shows what the survivors gather.
"""

import asyncio
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from random import Random
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from benchmarks.parts.hub_footprint import COUNTED, Footprint, at_rest, footprint, kill_a_worker
from benchmarks.parts.hub_process import RunningHub, running_hub
from benchmarks.parts.traffic import Death, Mix, Tally, Traffic
from benchmarks.report import Report, parse
from common.aio import background

SHARES: Final[Mapping[str, float]] = {
    "textcraft": 40.0,
    "maze": 28.0,
    "wordle": 24.0,
    "guess_number": 5.2,
    "babyai": 1.5,
    "alfworld": 1.0,
    "sciworld": 0.3,
}
"""Of the cycles, in percent. In the last three a session takes up to half a second to open."""
SLOW: Final[Mapping[str, int]] = {"sciworld": 2, "alfworld": 4, "babyai": 4}
DEATHS: Final[Mapping[Death, float]] = {
    "none": 94.0,
    "abandons": 3.0,
    "dies_sending": 1.5,
    "dies_waiting": 1.5,
}
SESSION_TTL_S: Final = 4.0
WARM_S: Final = 10.0
"""Of each environment."""
REST_S: Final = 60.0
"""By then a hub without clients holds what it held before."""
SAMPLE_S: Final = 1.0
MIB: Final = 1 << 20
GROWTH: Final = 1.25
SLACK: Final[Mapping[str, int]] = {"hub_bytes": 32 * MIB, "worker_bytes": 64 * MIB, "jvm_bytes": 512 * MIB}
"""Memory may grow by a quarter and so much more; a JVM fills the heap that it may have, 400 MiB, at leisure.
Nothing else may grow at all."""
OF_A_KILL: Final = {"worker_died", "no_worker", "unknown_session", "dialect"}
"""How sessions on a killed worker, and calls that just went there, are refused."""


@dataclass
class Soak:
    """What was done and seen."""

    begin: Footprint
    peak: Footprint
    end: Footprint
    tally: Tally
    num_killed: int
    seconds: float

    def limits(self) -> dict[str, float]:
        """What each quantity may be at the end."""
        held = asdict(self.begin)
        return {
            name: value if name in COUNTED else value * GROWTH + SLACK[name] for name, value in held.items()
        }

    def mistakes(self) -> list[str]:
        """What did not return, and refusals that no killed worker explains."""
        end, limits = asdict(self.end), self.limits()
        grown = [
            f"{name} {end[name]:,} > {limit:,.0f}" for name, limit in limits.items() if end[name] > limit
        ]
        expected = OF_A_KILL if self.num_killed else set()
        refused = [f"refused: {code}" for code in self.tally.refusals if code not in expected]
        return grown + refused


class Numbers:
    """Hands out the numbers of the cycles, and kills a worker now and then in the first half of them."""

    def __init__(self, hub: RunningHub, cycles: int, kills: int, limit_s: float) -> None:
        self.num_killed = 0
        self._hub, self._cycles, self._kills, self._limit_s = hub, cycles, kills, limit_s

    def __iter__(self) -> Iterator[int]:
        random, every = Random(0), max(1, self._cycles // 2 // max(1, self._kills))
        deadline = time.monotonic() + self._limit_s
        for number in range(self._cycles):
            if time.monotonic() >= deadline:
                return
            if number and number % every == 0 and self.num_killed < self._kills:
                self.num_killed += kill_a_worker(self._hub, random) is not None
            yield number


async def soak(hub: RunningHub, mix: Mix, numbers: Numbers, at_once: int, warm_s: float = WARM_S) -> Soak:
    """Warm up, play the cycles, come to rest; the same workers are up before and after."""
    async with Traffic(hub.url, mix) as warming:
        await warming.warm_up(warm_s)
    begin = await at_rest(hub, REST_S)
    samples = [begin]

    async def watch() -> None:
        while True:
            await asyncio.sleep(SAMPLE_S)
            samples.append(await footprint(hub))

    began = time.monotonic()
    async with Traffic(hub.url, mix) as traffic, background(watch()):
        await traffic.play(iter(numbers), at_once)
    seconds = time.monotonic() - began
    async with Traffic(hub.url, mix) as warming:
        await warming.warm_up(0.0)
    end = await at_rest(hub, REST_S, begin)
    peak = Footprint.peak([*samples, end])
    return Soak(begin, peak, end, traffic.tally, numbers.num_killed, seconds)


def show(found: Soak) -> None:
    """Begin, peak and end of what the hub holds; then what was played and broken."""
    table = Table(title="what the hub holds")
    for column in ("", "begin", "peak", "end", "limit", "verdict"):
        table.add_column(column, justify="left" if column in ("", "verdict") else "right")
    begin, peak, end = asdict(found.begin), asdict(found.peak), asdict(found.end)
    for name, limit in found.limits().items():
        unit = MIB if name.endswith("_bytes") else 1
        label = name.replace("_bytes", " MiB").replace("_", " ")
        values = (f"{value / unit:,.0f}" for value in (begin[name], peak[name], end[name], limit))
        table.add_row(label, *values, "returned" if end[name] <= limit else "GREW")
    console = Console(width=110)
    console.print(table)
    tally = found.tally
    played = ", ".join(f"{name} {num:,}" for name, num in sorted(tally.cycles.items()))
    console.print(f"cycles: {played}; {tally.steps:,} steps", highlight=False)
    faults = {**tally.deaths, "workers killed": found.num_killed}
    console.print(
        "injected: " + ", ".join(f"{name} {num:,}" for name, num in faults.items()), highlight=False
    )
    refusals = ", ".join(f"{code} {num:,}" for code, num in tally.refusals.items()) or "none"
    console.print(f"refused: {refusals}", highlight=False)


def add_figures(report: Report, found: Soak, cycles: int) -> None:
    """Cycles and their rate; what grew, each as the end over its limit."""
    report.add("soak_cycles", found.tally.cycles.total(), "", at_least=cycles)
    report.add("soak_cycles_per_s", found.tally.cycles.total() / found.seconds, "1/s")
    report.add("soak_cycles_refused", found.tally.refusals.total(), "")
    report.add("soak_clients_died", found.tally.deaths.total(), "")
    report.add("soak_workers_killed", found.num_killed, "")
    end = asdict(found.end)
    for name, limit in found.limits().items():
        unit, size = ("MiB", MIB) if name.endswith("_bytes") else ("", 1)
        report.add(f"soak_{name}_at_the_end", end[name] / size, unit, at_most=limit / size)
    report.add("soak_mistakes", len(found.mistakes()), "", at_most=0)


async def run(arguments: Any) -> Soak:
    """A hub, its traffic, its end."""
    shares = {name: SHARES[name] for name in arguments.environments.split(",")}
    mix = Mix(shares, DEATHS, at_once=SLOW, seed=arguments.seed)
    names = ", ".join(f'"{name}"' for name in shares)
    settings = f"environments = [{names}]\nsession_ttl_s = {SESSION_TTL_S}\nmax_sessions = 4096"
    async with running_hub(settings) as hub:
        numbers = Numbers(hub, arguments.cycles, arguments.kills, arguments.limit_s)
        return await soak(hub, mix, numbers, arguments.clients)


def main() -> int:
    """Print what was done and seen; 1 when something did not return to what it was."""
    arguments = parse(
        __doc__,
        ("--cycles", {"type": int, "default": 10_000}),
        ("--clients", {"type": int, "default": 32, "help": "at a time"}),
        ("--kills", {"type": int, "default": 12, "help": "of workers, in the first half"}),
        ("--limit-s", {"type": float, "default": 720.0, "help": "no cycle begins later"}),
        ("--environments", {"default": ",".join(SHARES), "metavar": "A,B"}),
        ("--seed", {"type": int, "default": 0}),
    )
    found = asyncio.run(run(arguments))
    show(found)
    report = Report("soak")
    add_figures(report, found, arguments.cycles)
    report.finish(arguments.json)
    mistakes = found.mistakes()
    print("verdict: " + ("; ".join(mistakes) or "everything returned to what it was"))
    return 1 if mistakes else 0


if __name__ == "__main__":
    sys.exit(main())
