"""Demonstrations for the warm start: the environment's expert on training tasks, never on held-out ones."""

import argparse
import asyncio
from collections.abc import Sequence
from pathlib import Path

from common.config import load
from common.errors import ConfigurationError
from envhub import registry
from envhub.demonstrations import write_demonstrations
from envhub.task import Task, select
from launch.config import RunConfig


def main(options: argparse.Namespace, overrides: Sequence[str]) -> int:
    """`pronghorn data expert CONFIG --out FILE`."""
    config = load(RunConfig, options.config, overrides)
    if not config.sft.num_demonstrations:
        raise ConfigurationError("sft.num_demonstrations = 0: say how many to write")
    number = write(config, options.out)
    print(f"pronghorn: {number} demonstrations in {options.out}")
    return 0


async def write_expert(config: RunConfig) -> None:
    """The stage of a run: the same, into the run folder, without blocking the loop that supervises."""
    await asyncio.to_thread(write, config, config.run.folder.demonstrations)


def write(config: RunConfig, file: Path) -> int:
    """Write `sft.num_demonstrations` expert trajectories to `file`, whole or not at all; how many."""
    file.parent.mkdir(parents=True, exist_ok=True)
    tasks = demonstration_tasks(config)
    return write_demonstrations(
        config.tasks.environment, tasks, config.tasks.action_format, file, config.run.seed
    )


def demonstration_tasks(config: RunConfig) -> tuple[Task, ...]:
    """The first `sft.num_demonstrations` training tasks of `sft.depths`, in their frozen order.

    ConfigurationError when the training tasks of the run hold fewer.
    """
    wanted, number = config.tasks, config.sft.num_demonstrations
    train = select(registry.environment(wanted.environment).tasks("train"), wanted.depths, wanted.num_train)
    shown = select(train, config.sft.depths, number)
    if len(shown) < number:
        depths = f" of sft.depths = {list(config.sft.depths)}" if config.sft.depths else ""
        raise ConfigurationError(
            f"sft.num_demonstrations = {number}: the run has {len(shown)} training tasks{depths}"
        )
    return shown
