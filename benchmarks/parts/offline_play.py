"""`python -m benchmarks.parts.offline_play CONFIG MODEL OUT`: the held-out success of a model."""

import asyncio
import sys
from pathlib import Path

from common.config import load
from common.run_directory import write_json
from envhub.local import LocalHub
from launch.config import RunConfig
from launch.exploration import heldout_of, measure, table_of


async def play(config: RunConfig, model: Path, out: Path) -> None:
    """Play the held-out tasks of the run with `model` and write what `launch.exploration.measure` says."""
    async with table_of(config, LocalHub(), model, 0) as table:
        write_json(out, await measure(config, table, heldout_of(config.run.folder)))


if __name__ == "__main__":
    asyncio.run(play(load(RunConfig, [Path(sys.argv[1])]), Path(sys.argv[2]), Path(sys.argv[3])))
