"""The tasks of a run, frozen when it begins, and the words that a small model must know to play them."""

import json
import random
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from common.errors import ConfigurationError
from common.run_directory import RunDirectory, write_json
from common.trajectory import TaskReference
from envhub import registry
from envhub.hub import Hub, references
from envhub.task import SPLITS, Task, select
from launch.config import RunConfig
from launch.data_items import resolve_files


async def freeze_tasks(config: RunConfig, hub: Hub) -> None:
    """Write `tasks.json`: training tasks in frozen order, held-out ones over all environments and depths."""
    wanted = config.tasks
    train: list[TaskReference] = []
    for name in wanted.environments:
        split = [] if wanted.train_items else await hub.catalogue(name, "train")
        train += references(name, training_pool(config, name, split))
    heldout: list[TaskReference] = []
    if config.evaluation.num_tasks:
        heldout = await heldout_tasks(config, hub, config.evaluation.num_tasks)
    write_json(
        config.run.folder.tasks,
        {
            "train": [task.model_dump() for task in train],
            "heldout": [task.model_dump() for task in heldout],
            "weights": wanted.mixture,
        },
    )


async def heldout_tasks(config: RunConfig, hub: Hub, number: int) -> list[TaskReference]:
    """`number` held-out tasks, as evenly over the environments as can be; ConfigurationError for too many."""
    wanted, chosen = config.tasks, []
    for name, share in shares(wanted.environments, number):
        split = [] if wanted.heldout_items else await hub.catalogue(name, wanted.heldout_split)
        tasks = heldout_pool(config, name, split)
        spread = spread_over_depths(tasks, share, config.run.seed, heldout_source(config))
        chosen += references(name, spread)
    return chosen


def training_pool(config: RunConfig, name: str, split: Sequence[Task]) -> list[Task]:
    """The tasks of one environment that may be trained on: of `tasks.train_items`, else of the train split.

    Held-out tasks are never among them. ConfigurationError when both files name the same task, or when there
    is none of the wanted depths.
    """
    wanted = config.tasks
    held = {task.name for task in _listed(config, name, "tasks.heldout_items", wanted.heldout_items)}
    if wanted.train_items:
        split = _listed(config, name, "tasks.train_items", wanted.train_items)
        if both := [task.name for task in split if task.name in held]:
            raise ConfigurationError(
                f"tasks.train_items: {len(both)} of them are in tasks.heldout_items too, {both[0]} for one"
            )
    free = tuple(task for task in split if task.name not in held)
    pool = select(free, depths_of(config, name, wanted.depths), wanted.num_train)
    if not pool:
        field = f"tasks.train_items = {list(wanted.train_items)}" if wanted.train_items else "tasks"
        field = f"tasks.depths = {list(wanted.depths)}" if wanted.depths else field
        raise ConfigurationError(f"{field}: {name} has no such training task")
    return list(pool)


def heldout_pool(config: RunConfig, name: str, split: Sequence[Task]) -> list[Task]:
    """The tasks of one environment that may be held out: of `tasks.heldout_items`, else of the split."""
    wanted = config.tasks
    if wanted.heldout_items:
        split = _listed(config, name, "tasks.heldout_items", wanted.heldout_items)
    return list(select(tuple(split), depths_of(config, name, wanted.depths)))


def heldout_source(config: RunConfig) -> str:
    """Where held-out tasks are from, for a message."""
    return "tasks.heldout_items" if config.tasks.heldout_items else config.tasks.heldout_split


def _listed(config: RunConfig, name: str, field: str, files: Sequence[str]) -> list[Task]:
    """The tasks of this environment in item files; ConfigurationError names field, file and id."""
    try:
        found = resolve_files(files, config.tasks.environments)
    except ConfigurationError as error:
        raise ConfigurationError(f"{field}: {error}") from None
    return [item.task for item in found if item.environment == name]


def depths_of(config: RunConfig, environment: str, depths: tuple[int, ...]) -> tuple[int, ...]:
    """The depths themselves; in a mixture they say nothing about an environment whose tasks have none."""
    if not config.tasks.mixture or not depths:
        return depths
    is_layered = any(task.depth for task in registry.environment(environment).tasks("train"))
    return depths if is_layered else ()


def shares(environments: Sequence[str], number: int) -> list[tuple[str, int]]:
    """How many of `number` each environment gets; the first ones get what is left over."""
    each, more = divmod(number, len(environments))
    return [(name, each + (index < more)) for index, name in enumerate(environments)]


async def write_vocabulary(config: RunConfig, hub: Hub) -> None:
    """Write `vocabulary.json`: every word of the environments, for a small model's tokenizer."""
    found: set[str] = set()
    for name in config.tasks.environments:
        found.update(await hub.vocabulary(name))
    write_json(vocabulary_file(config.run.folder), sorted(found))


def vocabulary_file(folder: RunDirectory) -> Path:
    """Where the words of a small model's tokenizer are kept."""
    return folder.path / "vocabulary.json"


def training_tasks(folder: RunDirectory) -> list[TaskReference]:
    """The frozen training tasks of a run."""
    return [TaskReference(**row) for row in json.loads(folder.tasks.read_text())["train"]]


def spread_over_depths(tasks: Sequence[Task], number: int, seed: int, source: str) -> list[Task]:
    """`number` tasks chosen by `seed`, as evenly over depths and kinds as can be, in the order of the split.

    ConfigurationError when there are fewer; `source` is the split or what else they are from.
    """
    if number > len(tasks):
        where = f"the {source} split" if source in SPLITS else source
        raise ConfigurationError(f"evaluation.num_tasks = {number}: {where} has {len(tasks)} such tasks")
    alike: dict[tuple[int, str], list[Task]] = defaultdict(list)
    for task in tasks:
        alike[task.depth, task.kind].append(task)
    rng = random.Random(seed)
    for same in alike.values():
        rng.shuffle(same)
    chosen: set[str] = set()
    while len(chosen) < number:
        for sort in sorted(alike):
            if alike[sort] and len(chosen) < number:
                chosen.add(alike[sort].pop().name)
    return [task for task in tasks if task.name in chosen]
