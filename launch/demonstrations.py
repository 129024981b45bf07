"""Demonstrations for the warm start: the environment's expert on training tasks, never on held-out ones."""

import asyncio
from itertools import chain, cycle, islice
from pathlib import Path

from common.errors import ConfigurationError
from common.seeding import derive_seed
from common.trajectory import TaskReference
from envhub import registry
from envhub.demonstrations import write_demonstrations
from envhub.hub import references
from envhub.task import select
from launch.config import RunConfig
from launch.tasks import depths_of, training_pool


async def write_expert(config: RunConfig) -> None:
    """The stage of a run: the same, into the run folder, without blocking the loop that supervises."""
    await asyncio.to_thread(write, config, config.run.folder.demonstrations)


def write(config: RunConfig, file: Path) -> int:
    """Write `sft.num_demonstrations` expert trajectories to `file`, whole or not at all; how many."""
    file.parent.mkdir(parents=True, exist_ok=True)
    return write_demonstrations(
        demonstration_tasks(config), config.tasks.action_format, file, wander=config.sft.wander
    )


def demonstration_tasks(config: RunConfig) -> list[TaskReference]:
    """Training tasks of `sft.depths` in frozen order; past the last they begin again under another seed.

    Several environments take turns. ConfigurationError when no training task of one has such a depth, or when
    it has no expert.
    """
    parts = [cycle(_shown(config, name)) for name in config.tasks.environments]
    turns = chain.from_iterable(zip(*parts, strict=True))
    return [
        task.model_copy(update={"seed": derive_seed(config.run.seed, "demonstration", index)})
        for index, task in enumerate(islice(turns, config.sft.num_demonstrations))
    ]


def _shown(config: RunConfig, name: str) -> list[TaskReference]:
    environment = registry.environment(name)
    if not environment.has_expert:
        raise ConfigurationError(
            f"sft.num_demonstrations = {config.sft.num_demonstrations}: allowed is 0, "
            f"environment {name} has no expert"
        )
    train = training_pool(config, name, environment.tasks("train"))
    shown = references(name, list(select(tuple(train), depths_of(config, name, config.sft.depths))))
    if not shown:
        raise ConfigurationError(
            f"sft.depths = {list(config.sft.depths)}: no training task of the run has such a depth"
        )
    return shown
