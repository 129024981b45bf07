"""`pronghorn run`: the whole system on this machine, each part in a process of its own.

The hub lives from the first stage to the last (`launch/stages.py` has the stages). Ctrl-C stops the learner
first, which writes its checkpoint, then the actors, then the hub; a second one kills the learner.
"""

import argparse
import asyncio
import signal
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from actors.assembly import hub_client
from common.aio import background
from common.config import load
from common.errors import ConfigurationError
from common.log import configure_logging
from common.role import INTERRUPTED
from launch import roles
from launch.config import RunConfig
from launch.preflight import check
from launch.processes import Command, Launcher
from launch.report import report
from launch.run_folder import StageClock, locked, settle
from launch.stages import Stages, is_trained, wait_for_hub
from launch.supervise import Supervisor
from launch.view import View


def main(options: argparse.Namespace, overrides: Sequence[str]) -> int:
    """Check, lock, run, report; the exit code. ConfigurationError when the learner needs other hosts."""
    config = load(RunConfig, options.config, overrides)
    if config.learner.num_hosts > 1:
        raise ConfigurationError(
            f"learner.num_hosts = {config.learner.num_hosts}: `pronghorn run` has one machine; allowed is 1, "
            "and launch/multinode.sh starts more"
        )
    return conduct(config, run_in_processes)


def conduct(
    config: RunConfig,
    run: Callable[[RunConfig, View], Awaitable[None]],
    *,
    check: Callable[[RunConfig], None] = check,
    is_done: Callable[[RunConfig], bool] = is_trained,
    report: Callable[[RunConfig], None] = report,
) -> int:
    """Do everything around `run` that does not depend on what it does and where; the exit code."""
    check(config)
    with locked(config.run.folder):
        config = settle(config)
        # The terminal belongs to the view.
        configure_logging("launch", config.run.folder.logs / "launch.log")
        finished = is_done(config) or asyncio.run(until_signal(config, run))
    if not finished:
        print(f"pronghorn: stopped; the same command resumes {config.run.folder.path}")
        return INTERRUPTED
    report(config)
    return 0


async def until_signal(config: RunConfig, run: Callable[[RunConfig, View], Awaitable[None]]) -> bool:
    """Run to the end; False when SIGINT or SIGTERM asked to stop before."""
    task = asyncio.current_task()
    assert task is not None
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, task.cancel)
    try:
        await run(config, View(config))
    except asyncio.CancelledError:
        return False
    return True


async def run_in_processes(
    config: RunConfig,
    view: View,
    work_of: "Callable[[RunConfig, Supervisor], ProcessWork] | None" = None,
) -> None:
    """Every stage that is not yet done, over supervised processes."""
    clock = StageClock(config.run.folder)
    async with Launcher.guarded() as launcher:
        work = (work_of or ProcessWork)(config, Supervisor(launcher, config.supervision, view.say))
        async with (
            background(view.follow(), *(work.supervisor.keep_running(hub) for hub in roles.hubs(config))),
            hub_client(config.hub, config.actor) as hub,
        ):
            with clock.measure("start"):
                await wait_for_hub(config, hub)
            await Stages(config, view, clock).run(hub, work)


class ProcessWork:
    """`Work` done by child processes."""

    def __init__(self, config: RunConfig, supervisor: Supervisor) -> None:
        self.supervisor = supervisor
        self._config = config

    @property
    def restarts(self) -> Counter[str]:
        """As `Work.restarts`."""
        return self.supervisor.restarts

    def actors(self) -> list[Command]:
        """How the actors of this host are started."""
        return roles.actors(self._config)

    async def make_model(self) -> None:
        """As `Work.make_model`."""
        await self.supervisor.finish(roles.prepare(self._config))

    async def warm_start(self) -> None:
        """As `Work.warm_start`."""
        await self.supervisor.finish(roles.sft(self._config))

    async def train(self) -> None:
        """As `Work.train`; the actors live exactly as long as the learner does."""
        # An actor leaves when the learner says that the run is over; nothing else ends before it is stopped.
        keep = partial(self.supervisor.keep_running, may_leave=True)
        async with background(*(keep(actor) for actor in self.actors())):
            await self.supervisor.finish(roles.learner(self._config))
