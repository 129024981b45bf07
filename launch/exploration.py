"""Playing tasks with one model in this process: the engine, the sessions and the rollout of an actor.

What is explored goes into a ledger, trajectory by trajectory, so that a start of the same command plays only
what is missing.
"""

import json
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from actors.assembly import make_table
from actors.config import ActorRoleConfig
from actors.engine.factory import make_engine
from actors.rollout import Table, play
from common.aio import each
from common.config import validate
from common.evaluation import episode_results, summarize
from common.messages import Lease
from common.run_directory import RunDirectory
from common.seeding import derive_seed
from common.trajectory import Member, TaskReference, Trajectory
from envhub.hub import Hub
from launch.config import RunConfig
from launch.persistence import persistently
from launch.tasks import shares, training_tasks
from learner.ledger import Ledger
from learner.ledger_records import OpenGroup


@asynccontextmanager
async def table_of(config: RunConfig, hub: Hub, model: Path, version: int) -> AsyncIterator[Table]:
    """What is played with: an engine on `model`, which is policy `version`, for as long as the body runs."""
    engine = make_engine(model, config.actor.engine)
    role = validate(ActorRoleConfig, config.model_dump())
    try:
        await engine.start(version)
        yield make_table(role, "explorer", hub, engine, model)
    finally:
        await engine.close()


async def play_leases(
    leases: Sequence[Lease], table: Table, max_sessions: int, keep: Callable[[Trajectory], Awaitable[None]]
) -> None:
    """Play every lease, at most `max_sessions` at a time, and `keep` each trajectory as it ends.

    Raises the EnvironmentFault or EngineFault of the first episode that broke in every attempt; others stop.
    """

    async def one(lease: Lease) -> None:
        await keep(await persistently(lambda: play(lease, table)))

    await each(leases, one, at_once=max_sessions)


async def measure(config: RunConfig, table: Table, tasks: Sequence[TaskReference]) -> dict[str, Any]:
    """Play held-out tasks, `evaluation.samples` times each; the summary, and under `episodes` every play."""
    sampling = config.sampling.model_copy(update={"temperature": config.evaluation.temperature})
    leases = [
        Lease(
            identity=Member(run=config.run.name, group=index, member=sample),
            task=task,
            horizon=config.evaluation.horizon or config.horizon.rounds[-1],
            sampling=sampling,
            purpose="evaluation",
        )
        for index, task in enumerate(tasks)
        for sample in range(config.evaluation.samples)
    ]
    played: list[Trajectory] = []

    async def keep(trajectory: Trajectory) -> None:
        played.append(trajectory)

    await play_leases(leases, table, config.actor.max_sessions, keep)
    results = episode_results(sorted(played, key=lambda t: (t.identity.group, t.identity.member)))
    return summarize(results) | {"episodes": [result.model_dump(mode="json") for result in results]}


def heldout_of(folder: RunDirectory) -> list[TaskReference]:
    """The frozen held-out tasks of a run."""
    return [TaskReference(**row) for row in json.loads(folder.tasks.read_text())["heldout"]]


async def explore(config: RunConfig, table: Table, ledger: Ledger, iteration: int) -> None:
    """Play the tasks of an iteration, `samples_per_task` times each, as far as the ledger lacks them."""
    sampling = config.sampling.model_copy(update={"temperature": config.evol.temperature})
    groups = unplayed(config, ledger, iteration)
    leases = [
        Lease(
            identity=Member(run=config.run.name, group=group.id, member=member),
            task=group.task,
            horizon=group.horizon,
            sampling=sampling,
        )
        for group in groups
        for member in range(group.size)
        if member not in group.played
    ]

    async def keep(trajectory: Trajectory) -> None:
        ledger.commit_submissions([trajectory], iteration - 1)

    await play_leases(leases, table, config.actor.max_sessions, keep)


def label_of(iteration: int) -> str:
    """What the groups of an iteration are called in the ledger."""
    return f"explore {iteration}"


def unplayed(config: RunConfig, ledger: Ledger, iteration: int) -> list[OpenGroup]:
    """The groups of an iteration that are not complete; they are opened the first time."""
    label = label_of(iteration)
    if not ledger.rows("SELECT 1 FROM groups WHERE label = ? LIMIT 1", (label,)):
        return ledger.open_groups(
            explored_tasks(config, iteration),
            purpose="training",
            label=label,
            horizon=config.evol.horizon or config.horizon.rounds[-1],
            size=config.evol.samples_per_task,
            version=iteration - 1,
        )
    return [group for group in ledger.groups_in("open", "training") if group.label == label]


def explored_tasks(config: RunConfig, iteration: int) -> list[TaskReference]:
    """Training tasks that an iteration plays: of every environment its share, chosen by the seed."""
    by_environment: dict[str, list[TaskReference]] = defaultdict(list)
    for task in training_tasks(config.run.folder):
        by_environment[task.environment].append(task)
    rng = random.Random(derive_seed(config.run.seed, "evol", iteration))
    chosen: list[TaskReference] = []
    number = config.evol.num_tasks or sum(map(len, by_environment.values()))
    for name, share in shares(list(by_environment), number):
        known = by_environment[name]
        wanted = len(known) if not config.evol.num_tasks else min(share, len(known))
        chosen += rng.sample(known, wanted)
    return [
        task.model_copy(update={"seed": derive_seed(config.run.seed, "evol", iteration, index)})
        for index, task in enumerate(chosen)
    ]


def explored_trajectories(ledger: Ledger, iterations: Sequence[int]) -> list[Trajectory]:
    """All that was played in these iterations, in the order of the groups."""
    found: list[Trajectory] = []
    for iteration in iterations:
        rows = ledger.rows("SELECT id FROM groups WHERE label = ? ORDER BY id", (label_of(iteration),))
        for (group,) in rows:
            found += ledger.group(group).trajectories
    return found
