"""`python -m launch.hosts.prepare CONFIG.toml ... [--section.field=value ...]`: every stage before
training, on the host that leads."""

import asyncio
import sys
from pathlib import Path

from actors.assembly import hub_client
from common.config import load
from common.errors import PronghornError
from common.log import configure_logging
from launch.cli import split_overrides
from launch.config import RunConfig
from launch.pipeline import ProcessWork
from launch.processes import Launcher
from launch.run_folder import StageClock, absolute, keep_config
from launch.stages import Stages, wait_for_hub
from launch.supervise import Supervisor
from launch.view import View


def main() -> int:
    """Make what is missing; the exit code."""
    try:
        files, overrides = split_overrides(sys.argv[1:])
        config = absolute(load(RunConfig, [Path(file) for file in files], overrides))
        configure_logging("prepare")
        config.run.folder.path.mkdir(parents=True, exist_ok=True)
        keep_config(config)
        asyncio.run(_prepare(config))
    except PronghornError as error:
        sys.stderr.write(f"pronghorn: {error}\n")
        return error.exit_code
    return 0


async def _prepare(config: RunConfig) -> None:
    view, clock = View(config), StageClock(config.run.folder)
    async with Launcher.guarded() as launcher, hub_client(config.hub, config.actor) as hub:
        work = ProcessWork(config, Supervisor(launcher, config.supervision, view.say))
        with clock.measure("start"):
            await wait_for_hub(config, hub)
        await Stages(config, view, clock).prepare(hub, work)


if __name__ == "__main__":
    sys.exit(main())
