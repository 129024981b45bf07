"""How soon a run goes on after kill -9: to the next trajectory or step that is durable.

A run of `tests/chaos/chaos.toml` in processes of its own; each kind of process is killed several times, each
time after the run has gone on. Where the death ends the command, as a launcher's does, it is given again at
once. There is one actor, so that nobody goes on in its place. The model is small: the time is that of
starting Python, importing torch and reading the checkpoint.
"""

import asyncio
import tempfile
from pathlib import Path
from random import Random
from statistics import median

from benchmarks.report import Report, parse
from common.aio import background
from tests.chaos.faults import Fault, Injector
from tests.chaos.system import System

KINDS = ("actor", "hub", "worker", "learner", "launcher")
RUN_S = 3600.0


async def measure(folder: Path, repeats: int, seed: int) -> dict[str, list[float]]:
    """Seconds to the next progress, by kind of process."""
    random = Random(seed)
    faults = [
        Fault(f"kill -9 {kind}", random.uniform(0.0, 1.0), hold_s=0.0, pick=random.random(), is_at_once=False)
        for _ in range(repeats)
        for kind in KINDS
    ]
    # Longer than the faults last; it is given up after the last of them.
    system = System(folder, settings=("--learner.steps=1000000", "--actor.num_actors=1"))
    injector = Injector(system, iter(faults))
    try:
        async with background(system.finish(RUN_S)):
            await injector.run()
            await injector.recovered()
    finally:
        system.kill()
    return injector.recovery_s


def main() -> None:
    """Measure and report."""
    arguments = parse(
        __doc__,
        ("--repeats", {"type": int, "default": 5, "help": "of each kind"}),
        ("--seed", {"type": int, "default": 1}),
    )
    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(measure(Path(folder), arguments.repeats, arguments.seed))
    report = Report("recovery")
    for kind, seconds in found.items():
        name = kind.replace("kill -9 ", "recovery_")
        report.add(f"{name}_median", median(seconds), "s")
        report.add(f"{name}_longest", max(seconds), "s")
        report.add(f"{name}_times", len(seconds), "")
    report.finish(arguments.json)


if __name__ == "__main__":
    main()
