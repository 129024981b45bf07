"""The whole system, broken on purpose for as long as asked: what was done to it, and what was lost.

A run is finished undisturbed, in one process, then again and again with faults of every kind, in an order and
at moments that the seed decides; every second one with a bad network between actors and learner. After each:
`fsck` finds nothing, no process and no shared memory is left, every step trained on the same groups, and the
final parameters, of the model and of the optimizer, are those of the undisturbed run, bit for bit.

    python -m benchmarks.chaos --minutes 30 --seed 1
"""

import asyncio
import sys
import tempfile
import time
from argparse import Namespace
from collections import Counter, defaultdict
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

from benchmarks.report import parse
from common.aio import background
from common.errors import PronghornError
from common.run_directory import write_json
from tests.chaos.faults import KILLS, LIMITS, STOPS, Clock, Disk, Injector, schedule
from tests.chaos.invariants import broken
from tests.chaos.proxy import Network
from tests.chaos.setting import bad_network, faked_clock, small_disk
from tests.chaos.system import System

RUN_S = 3600.0
"""A single run must be finished by then."""
MAX_HOLD_S = 6.0
MAX_PAUSE_S = 2.0


@dataclass
class Outcome:
    """Of all runs together."""

    faults: Counter[str] = field(default_factory=Counter)
    messages: Counter[str] = field(default_factory=Counter)
    recovery_s: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    runs: int = 0
    commands: int = 0
    """How often the command had to be given again."""
    findings: list[str] = field(default_factory=list)


async def disturbed(
    number: int, undisturbed: System, folder: Path, arguments: Namespace, out: Outcome
) -> None:
    """One run with faults; adds what was done and found to `out`."""
    seed = arguments.seed * 1000 + number
    kinds = [*KILLS, *STOPS, *LIMITS]
    async with AsyncExitStack() as stack:
        network, settings = None, undisturbed.settings
        if number % 2:
            network, ports = await stack.enter_async_context(bad_network(seed))
            settings, kinds = (*settings, *ports), [*kinds, "cut", "cut"]
        if stack.enter_context(small_disk(folder)):
            kinds.append("disk full")
        clock = Clock(undisturbed.directory / f"clock-{number}")
        variables = faked_clock(clock.file) if arguments.clock else None
        if variables:
            kinds.append("clock jump")
        system = System(
            folder,
            settings=settings,
            environment=variables or {},
            actor_ports=network.ports if network else {},
        )
        system.begin_like(undisturbed)
        faults = schedule(seed, kinds, max_pause_s=MAX_PAUSE_S, max_hold_s=MAX_HOLD_S)
        injector = Injector(system, faults, network=network, disk=Disk(folder), clock=clock)
        await _play(seed, system, undisturbed, injector, out)
        _add(out, system, injector, network)


async def _play(seed: int, system: System, undisturbed: System, injector: Injector, out: Outcome) -> None:
    try:
        async with background(injector.run()):
            await system.finish(RUN_S)
        found = await broken(system, undisturbed)
    except PronghornError as error:
        found = [str(error)]
    finally:
        system.kill()
    print(f"seed {seed}: {dict(injector.counts)}; {'; '.join(found) or 'nothing lost'}", flush=True)
    if found:
        print("\n".join(["what was done:", *injector.history, "what ended:", *system.deaths]), flush=True)
    out.findings += [f"seed {seed}: {line}" for line in found]


def _add(out: Outcome, system: System, injector: Injector, network: Network | None) -> None:
    out.runs += 1
    out.commands += len(system.deaths)
    out.faults += injector.counts
    out.messages += network.weather.counts if network else Counter()
    for kind, seconds in injector.recovery_s.items():
        out.recovery_s[kind] += seconds


async def chaos(arguments: Namespace, folder: Path, out: Outcome) -> None:
    """The undisturbed run, then disturbed ones until the time is over; adds to `out` what comes of them."""
    settings = (f"--learner.steps={arguments.steps}",)
    undisturbed = System(folder / "undisturbed", command="local", settings=settings)
    undisturbed.directory.mkdir()
    await undisturbed.finish(RUN_S, again=False)
    until = time.monotonic() + 60 * arguments.minutes
    while time.monotonic() < until and not out.findings:
        await disturbed(out.runs + 1, undisturbed, folder / f"disturbed-{out.runs + 1}", arguments, out)


def show(out: Outcome) -> None:
    """What was done and what came of it."""
    told = "seconds: from a fault's end to the next durable progress"
    table = Table(
        title=f"{out.runs} disturbed runs, the command given again {out.commands} times", caption=told
    )
    for column in ("fault", "injected", "median s", "longest s", "lost"):
        table.add_column(column, justify="left" if column == "fault" else "right")
    lost = "nothing" if not out.findings else "see below"
    for kind in sorted(out.faults):
        seconds = out.recovery_s.get(kind, [])
        times = (f"{median(seconds):.1f}", f"{max(seconds):.1f}") if seconds else ("", "")
        table.add_row(kind, str(out.faults[kind]), *times, lost)
    for kind in ("drop", "duplicate", "corrupt", "delay", "undeliverable"):
        table.add_row(f"message: {kind}", str(out.messages[kind]), "", "", lost)
    Console().print(table)


def main() -> int:
    """Break it, report; 1 when anything was lost."""
    arguments = parse(
        __doc__,
        ("--minutes", {"type": float, "default": 30.0, "help": "no run begins later"}),
        ("--seed", {"type": int, "default": 1}),
        ("--steps", {"type": int, "default": 20, "help": "of each run"}),
        ("--no-clock", {"dest": "clock", "action": "store_false", "help": "leave the wall clock alone"}),
    )
    print(f"seed {arguments.seed}, {arguments.steps} steps a run", flush=True)
    out = Outcome()
    with tempfile.TemporaryDirectory() as folder:
        try:
            asyncio.run(chaos(arguments, Path(folder), out))
        except PronghornError as error:
            out.findings.append(f"undisturbed: {error}")
        except KeyboardInterrupt:
            print("interrupted: the run in progress does not count", flush=True)
    show(out)
    if arguments.json:
        values = {"faults": out.faults, "messages": out.messages, "recovery_s": out.recovery_s}
        write_json(arguments.json, values | {"runs": out.runs, "findings": out.findings})
    whole = f"{sum(out.faults.values())} faults, nothing lost" if out.runs else "no run was finished"
    print("verdict: " + ("\n".join(out.findings) or whole))
    return 1 if out.findings or not out.runs else 0


if __name__ == "__main__":
    sys.exit(main())
