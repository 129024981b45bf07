"""The tasks of a run, frozen when it begins, and the words that a small model must know to play them."""

import json
import random
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from common.errors import ConfigurationError
from common.run_directory import RunDirectory, write_json
from common.trajectory import TaskReference
from envhub.hub import Hub, references
from envhub.task import Task
from launch.config import RunConfig


async def freeze_tasks(config: RunConfig, hub: Hub) -> None:
    """Write `tasks.json`: training tasks in frozen order, held-out ones of the test split over all depths."""
    wanted = config.tasks
    train = await hub.tasks(wanted.environment, "train", wanted.depths, wanted.num_train)
    heldout: list[TaskReference] = []
    if config.evaluation.num_tasks:
        test = await hub.catalogue(wanted.environment, "test", wanted.depths)
        chosen = spread_over_depths(test, config.evaluation.num_tasks, config.run.seed)
        heldout = references(wanted.environment, chosen)
    write_json(
        config.run.folder.tasks,
        {"train": [t.model_dump() for t in train], "heldout": [t.model_dump() for t in heldout]},
    )


async def write_vocabulary(config: RunConfig, hub: Hub) -> None:
    """Write `vocabulary.json`: every word of the environment, for a small model's tokenizer."""
    write_json(vocabulary_file(config.run.folder), await hub.vocabulary(config.tasks.environment))


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
