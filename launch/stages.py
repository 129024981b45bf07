"""The stages before training: each makes one product in the run folder, whole or not at all.

A product that is there means that its stage is done.
"""

import json
import os
import random
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from common.errors import ConfigurationError, PreflightError
from common.run_directory import RunDirectory
from common.trajectory import TaskReference
from envhub.client import HubClient
from envhub.config import TOKEN_VARIABLE
from envhub.hub import references
from envhub.task import Task
from launch.config import RunConfig


def hub_client(config: RunConfig) -> HubClient:
    """A client of the run's own hub."""
    return HubClient(
        f"http://{config.hub.host}:{config.hub.port}",
        deadline_s=config.actor.environment_s,
        calls_per_s=config.actor.environment_calls_per_s,
        max_retries=config.actor.max_retries,
        token=os.environ.get(TOKEN_VARIABLE, ""),
    )


async def wait_for_hub(config: RunConfig, hub: HubClient) -> None:
    """Return when the hub answers; PreflightError past `supervision.hub_start_s`."""
    if not await hub.healthy(config.supervision.hub_start_s):
        raise PreflightError(
            f"the hub did not answer on {config.hub.host}:{config.hub.port} within "
            f"supervision.hub_start_s = {config.supervision.hub_start_s:g} s "
            f"[{config.run.folder.logs / 'hub.log'}]"
        )


async def freeze_tasks(config: RunConfig, hub: HubClient) -> None:
    """Write `tasks.json`: training tasks in frozen order, held-out ones of the test split over all depths."""
    wanted = config.tasks
    train = await hub.tasks(wanted.environment, "train", wanted.depths, wanted.num_train)
    heldout: list[TaskReference] = []
    if config.evaluation.num_tasks:
        test = await hub.catalogue(wanted.environment, "test", wanted.depths)
        chosen = spread_over_depths(test, config.evaluation.num_tasks, config.run.seed)
        heldout = references(wanted.environment, chosen)
    write_whole(
        config.run.folder.tasks,
        {"train": [t.model_dump() for t in train], "heldout": [t.model_dump() for t in heldout]},
    )


async def write_vocabulary(config: RunConfig, hub: HubClient) -> None:
    """Write `vocabulary.json`: every word of the environment, for a small model's tokenizer."""
    write_whole(vocabulary_file(config.run.folder), await hub.vocabulary(config.tasks.environment))


def vocabulary_file(folder: RunDirectory) -> Path:
    """Where the words of a small model's tokenizer are kept."""
    return folder.path / "vocabulary.json"


def training_tasks(folder: RunDirectory) -> list[TaskReference]:
    """The frozen training tasks of a run."""
    return [TaskReference(**row) for row in json.loads(folder.tasks.read_text())["train"]]


def spread_over_depths(tasks: Sequence[Task], number: int, seed: int) -> list[Task]:
    """`number` tasks, as evenly over depths as there are tasks, chosen by `seed`, in the order of the split.

    ConfigurationError when the split has fewer.
    """
    if number > len(tasks):
        raise ConfigurationError(
            f"evaluation.num_tasks = {number}: the test split has {len(tasks)} such tasks"
        )
    by_depth: dict[int, list[Task]] = defaultdict(list)
    for task in tasks:
        by_depth[task.depth].append(task)
    rng = random.Random(seed)
    for same in by_depth.values():
        rng.shuffle(same)
    chosen: set[str] = set()
    while len(chosen) < number:
        for depth in sorted(by_depth):
            if by_depth[depth] and len(chosen) < number:
                chosen.add(by_depth[depth].pop().name)
    return [task for task in tasks if task.name in chosen]


def write_whole(path: Path, value: Any) -> None:
    """Write JSON so that the file is either absent or complete: its presence means that the stage is done."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(value, indent=1) + "\n")
    temporary.replace(path)
