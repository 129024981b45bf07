"""`pronghorn evol CONFIG`: AgentEvol, arXiv:2406.04151: explore, weigh or filter, train the base, again.

    policy 0 --explore--> ledger --weigh--> set 1 --train the base--> policy 1 --explore--> ... --> policy N

Policy 0 is the run's policy zero. Each iteration leaves in `evol/iteration-NN/` the set it learnt from, the
model and its held-out success; what was played is in `evol/ledger.sqlite`. A product that is there is not
made again: the same command goes on where it was stopped, within an iteration too, and with more
`evol.iterations` after the last one.
"""

import argparse
import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table as RichTable

from actors.assembly import hub_client
from actors.rollout import Table
from common.aio import background
from common.config import load
from common.run_directory import RunDirectory, write_json
from common.trajectory import TaskReference
from envhub.hub import Hub
from launch import preflight, roles
from launch.config import RunConfig
from launch.exploration import explore, explored_trajectories, heldout_of, measure, table_of, unplayed
from launch.offline import curve_of, flat, hold_to, narrate
from launch.pipeline import ProcessWork, conduct
from launch.processes import Launcher
from launch.run_folder import StageClock
from launch.stages import Stages, wait_for_hub
from launch.supervise import Supervisor
from launch.view import View
from learner.ledger import Ledger
from learner.offline.evol import merged
from learner.offline.examples import read_examples, write_examples


@dataclass(frozen=True)
class Iteration:
    """Where one iteration keeps its products."""

    index: int
    path: Path

    @property
    def set(self) -> Path:
        """What it learns from, one example per line."""
        return self.path / "set.jsonl"

    @property
    def counts(self) -> Path:
        """How much was explored and kept; written before the set."""
        return self.path / "counts.json"

    @property
    def model(self) -> Path:
        """What it learnt; of iteration 0 there is none, it is the run's policy zero."""
        return self.path / "model"

    @property
    def heldout(self) -> Path:
        """The held-out success of its model, episode by episode too."""
        return self.path / "heldout.json"


def iteration(folder: RunDirectory, index: int) -> Iteration:
    """Iteration `index` of the run; 0 is what exploring begins with."""
    return Iteration(index, folder.path / "evol" / f"iteration-{index:02d}")


def main(options: argparse.Namespace, overrides: Sequence[str]) -> int:
    """Check, lock, evolve, report; the exit code."""
    config = load(RunConfig, options.config, overrides)
    return conduct(
        config, run_in_processes, check=preflight.check, is_done=lambda _: False, report=print_table
    )


async def run_in_processes(config: RunConfig, view: View) -> None:
    """Every iteration that is not yet done; hub and trainers in processes, the engine in this one."""
    folder = config.run.folder
    stages = Stages(config, view, StageClock(folder))
    async with Launcher.guarded() as launcher:
        work = ProcessWork(config, Supervisor(launcher, config.supervision, view.say))

        async def train(arguments: Sequence[str], name: str) -> None:
            async with background(narrate(curve_of(folder, name), view)):
                await work.supervisor.finish(roles.trainer(config, "sft", arguments, name))

        async with (
            background(*(work.supervisor.keep_running(own) for own in roles.hubs(config))),
            hub_client(config.hub, config.actor) as hub,
        ):
            await wait_for_hub(config, hub)
            await stages.prepare(hub, work)
            await Evolution(config, stages, hub, train).run()


class Evolution:
    """The iterations of one run; `train(arguments, name)` runs `learner.offline.sft` to its end."""

    def __init__(
        self,
        config: RunConfig,
        stages: Stages,
        hub: Hub,
        train: Callable[[Sequence[str], str], Awaitable[None]],
    ) -> None:
        self._config = config
        self._folder = config.run.folder
        self._stages = stages
        self._hub = hub
        self._train = train

    async def run(self) -> None:
        """All iterations in order.

        ConfigurationError when earlier ones were made with other settings, PronghornError when an iteration
        found nothing to learn.
        """
        config = self._config
        settings = flat("evol", config.evol.model_dump(exclude={"iterations"}))
        hold_to(self._folder.path / "evol" / "settings.json", settings)
        ledger = Ledger(self._folder.path / "evol" / "ledger.sqlite", config.run.name)
        try:
            for index in range(config.evol.iterations + 1):
                here = iteration(self._folder, index)
                if index:
                    await self._learn(here, ledger)
                await self._play(here, ledger)
        finally:
            ledger.close()

    async def _learn(self, here: Iteration, ledger: Ledger) -> None:
        await self._stages.stage(
            f"set {here.index}", here.set, lambda: asyncio.to_thread(self._merge, here, ledger)
        )
        await self._stages.stage(f"training {here.index}", here.model, lambda: self._retrain(here))

    def _merge(self, here: Iteration, ledger: Ledger) -> None:
        """Write the iteration's set: what the newest policy explored (or all did), and the demonstrations."""
        first = 1 if self._config.evol.accumulates else here.index
        played = explored_trajectories(ledger, range(first, here.index + 1))
        known = self._folder.demonstrations
        shown = read_examples(known) if known.exists() else []
        examples, counts = merged(shown, played, self._config.evol)
        write_json(here.counts, counts._asdict())
        write_examples(here.set, examples)

    async def _retrain(self, here: Iteration) -> None:
        evol, folder = self._config.evol, self._folder
        base = folder.policy_zero if evol.base == "warm_start" else folder.model
        arguments = [f"--model={base}", f"--data={here.set}", f"--out={here.model}"]
        name = f"evol-{here.index:02d}"
        arguments += [f"--name={name}"] + ([f"--sft.steps={evol.steps}"] if evol.steps else [])
        await self._train(arguments, name)

    async def _play(self, here: Iteration, ledger: Ledger) -> None:
        """Measure the iteration's model on the held-out tasks, then explore with it for the next one."""
        config = self._config
        heldout = heldout_of(self._folder)
        explores = here.index < config.evol.iterations and unplayed(config, ledger, here.index + 1)
        measures = heldout and not here.heldout.exists()
        if not explores and not measures:
            return
        model = here.model if here.index else self._folder.policy_zero
        async with table_of(config, self._hub, model, here.index) as table:
            if measures:
                await self._stages.stage(
                    f"held-out {here.index}", here.heldout, lambda: self._measure(here, table, heldout)
                )
            if explores:
                await self._stages.stage(
                    f"exploring {here.index + 1}",
                    here.heldout,
                    lambda: explore(config, table, ledger, here.index + 1),
                    again=True,
                )

    async def _measure(self, here: Iteration, table: Table, tasks: Sequence[TaskReference]) -> None:
        write_json(here.heldout, await measure(self._config, table, tasks))


def results(config: RunConfig) -> list[dict[str, Any]]:
    """What every iteration explored, kept and achieved; what is not known is None."""
    found = []
    for index in range(config.evol.iterations + 1):
        here = iteration(config.run.folder, index)
        row: dict[str, Any] = {
            "iteration": index,
            "model": str(here.model if index else config.run.folder.policy_zero),
        }
        for file, names in (
            (here.counts, ("explored", "kept", "examples")),
            (here.heldout, ("success", "low", "high", "num_tasks")),
        ):
            values = json.loads(file.read_text()) if file.exists() else {}
            row |= {name: values.get(name) for name in names}
        found.append(row)
    return found


def print_table(config: RunConfig, console: Console | None = None) -> None:
    """Write `evol/summary.json` and print it as a table."""
    rows = results(config)
    write_json(config.run.folder.path / "evol" / "summary.json", {"iterations": rows})
    table = RichTable(title=f"agentevol, {config.evol.objective}: {config.run.name}")
    for column in ("iteration", "explored", "kept", "learnt from", "held-out", "95 % interval", "tasks"):
        table.add_column(column, justify="right")
    for row in rows:
        played = row["success"] is not None
        table.add_row(
            str(row["iteration"]),
            *("-" if row[name] is None else str(row[name]) for name in ("explored", "kept", "examples")),
            f"{row['success']:.3f}" if played else "-",
            f"{row['low']:.3f} - {row['high']:.3f}" if played else "-",
            str(row["num_tasks"]) if played else "-",
        )
    (console or Console()).print(table)
    print(f"pronghorn: the newest model is {rows[-1]['model']}")
