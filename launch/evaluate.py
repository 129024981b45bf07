"""`pronghorn eval CONFIG.toml [--model=FOLDER]`: held-out success and its interval."""

import argparse
import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table as RichTable

from actors.assembly import make_table
from actors.config import ActorRoleConfig
from actors.engine.factory import make_engine
from actors.rollout import Table, play
from common.aio import first_leaf
from common.config import load, validate
from common.errors import ConfigurationError, EngineFault, EnvironmentFault
from common.messages import Lease
from common.trajectory import Member, TaskReference, Trajectory
from envhub.local import LocalHub
from launch.config import RunConfig
from launch.tasks import heldout_tasks
from learner.evaluation import summarize

MAX_ATTEMPTS = 3
"""Of one episode whose environment or engine broke; a fault is never counted as a failure of the policy."""


def main(options: argparse.Namespace, overrides: Sequence[str]) -> int:
    """Play the held-out tasks once and print the result; the exit code."""
    config = load(RunConfig, options.config, overrides)
    model = Path(options.model) if options.model else model_of_run(config)
    if not (model / "config.json").exists():
        raise ConfigurationError(f"--model={model}: not a model folder (no config.json)")
    values = asyncio.run(_evaluate(config, model))
    print_result(model, values)
    return 0


def model_of_run(config: RunConfig) -> Path:
    """The run's final model, else its warm start, else its first model; ConfigurationError without any."""
    folder = config.run.folder
    for candidate in (folder.final_model, folder.policy_zero):
        if candidate.exists():
            return candidate
    raise ConfigurationError(f"{folder.path}: the run has no model yet; give --model=FOLDER")


async def _evaluate(config: RunConfig, model: Path) -> dict[str, Any]:
    engine = make_engine(model, config.actor.engine)
    hub = LocalHub()
    role = validate(ActorRoleConfig, config.model_dump())
    chosen = await heldout_tasks(config, hub, config.evaluation.num_tasks or 100)
    await engine.start()
    try:
        table = make_table(role, "evaluation", hub, engine, model)
        return summarize(await play_all(config, table, chosen))
    finally:
        await engine.close()


async def play_all(config: RunConfig, table: Table, tasks: Sequence[TaskReference]) -> list[Trajectory]:
    """One trajectory per task, at most `actor.max_sessions` at a time.

    Raises the EnvironmentFault or EngineFault of the first episode that broke in every attempt; others stop.
    """
    places = asyncio.Semaphore(config.actor.max_sessions)
    sampling = config.sampling.model_copy(update={"temperature": config.evaluation.temperature})
    horizon = config.evaluation.horizon or config.horizon.rounds[-1]

    async def one(index: int, task: TaskReference) -> Trajectory:
        identity = Member(run=config.run.name, group=index, member=0)
        lease = Lease(identity=identity, task=task, horizon=horizon, sampling=sampling, purpose="evaluation")
        async with places:
            return await _persistently(lease, table)

    try:
        async with asyncio.TaskGroup() as group:
            playing = [group.create_task(one(index, task)) for index, task in enumerate(tasks)]
    except BaseExceptionGroup as errors:
        raise first_leaf(errors) from errors
    return [task.result() for task in playing]


async def _persistently(lease: Lease, table: Table) -> Trajectory:
    for attempt in range(1, MAX_ATTEMPTS + 1):
        try:
            return await play(lease, table)
        except (EnvironmentFault, EngineFault):
            if attempt == MAX_ATTEMPTS:
                raise
    raise AssertionError("unreachable: the last attempt returns or raises")


def print_result(model: Path, values: dict[str, Any]) -> None:
    """A table: all tasks, then each kind."""
    table = RichTable(title=f"held-out success of {model}")
    for column in ("tasks", "n", "success", "95 % interval"):
        table.add_column(column)
    interval = f"{values['low']:.3f} - {values['high']:.3f}"
    table.add_row("all", str(values["num_tasks"]), f"{values['success']:.3f}", interval)
    for kind, result in values["by_kind"].items():
        table.add_row(kind, str(result["num_tasks"]), f"{result['success']:.3f}", "")
    Console().print(table)
