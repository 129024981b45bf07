"""`pronghorn run`: the whole system on this machine, stage by stage; run again, it resumes.

    hub -> tasks -> vocabulary -> model -> demonstrations -> warm start -> learner + actors -> report

A stage whose product is in the run folder is skipped: that is all that resuming is. The hub lives from
the first stage to the last. Ctrl-C stops the learner first, which writes its checkpoint, then the
actors, then the hub; a second Ctrl-C kills them.
"""

import argparse
import asyncio
import json
import logging
import signal
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from common.aio import background
from common.config import load
from common.log import configure_logging
from envhub.client import HubClient
from launch import roles, stages
from launch.config import RunConfig
from launch.demonstrations import write_expert
from launch.preflight import check
from launch.processes import Launcher
from launch.report import complete_summary, report
from launch.run_folder import StageClock, locked, settle
from launch.supervise import Supervisor
from launch.view import View

log = logging.getLogger(__name__)

INTERRUPTED = 130
"""Exit code of a run that was stopped in good order."""


def main(options: argparse.Namespace, overrides: Sequence[str]) -> int:
    """Check, lock, run, report; the exit code."""
    config = load(RunConfig, options.config, overrides)
    check(config)
    with locked(config.run.folder):
        config = settle(config)
        # The terminal belongs to the view.
        configure_logging("launch", config.run.folder.logs / "launch.log")
        finished = asyncio.run(_until_signal(config))
    if not finished:
        print(f"pronghorn: stopped; the same command resumes {config.run.folder.path}")
        return INTERRUPTED
    report(config)
    return 0


async def _until_signal(config: RunConfig) -> bool:
    """Run to the end; False when SIGINT or SIGTERM asked to stop before."""
    task = asyncio.current_task()
    assert task is not None
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, task.cancel)
    try:
        await Pipeline(config).run()
    except asyncio.CancelledError:
        return False
    return True


class Pipeline:
    """One run: its stages in order, over its processes."""

    def __init__(self, config: RunConfig) -> None:
        self._config = config
        self._folder = config.run.folder
        self._clock = StageClock(self._folder)
        self._view = View(config)

    async def run(self) -> None:
        """Do every stage that is not yet done."""
        if self._is_trained():
            return
        config = self._config
        async with Launcher.guarded() as launcher:
            supervisor = Supervisor(launcher, config.supervision, self._view.say)
            async with (
                background(self._view.follow(), supervisor.keep_running(roles.hub(config))),
                stages.hub_client(config) as hub,
            ):
                with self._clock.measure("start"):
                    await stages.wait_for_hub(config, hub)
                await self._prepare(supervisor, hub)
                await self._stage(
                    "training", self._folder.summary, lambda: self._train(supervisor), again=True
                )
            complete_summary(self._folder, self._clock.seconds, dict(supervisor.restarts))

    async def _prepare(self, supervisor: Supervisor, hub: HubClient) -> None:
        config, folder = self._config, self._folder
        await self._stage("tasks", folder.tasks, lambda: stages.freeze_tasks(config, hub))
        if config.model.source == "small":
            words = stages.vocabulary_file(folder)
            await self._stage("vocabulary", words, lambda: stages.write_vocabulary(config, hub))
        await self._stage("model", folder.model, lambda: supervisor.finish(roles.prepare(config)))
        if config.sft.num_demonstrations:
            await self._stage("demonstrations", folder.demonstrations, lambda: write_expert(config))
            await self._stage("warm start", folder.warm_start, lambda: supervisor.finish(roles.sft(config)))

    async def _train(self, supervisor: Supervisor) -> None:
        """Until the learner has left; the actors live exactly as long as it does."""
        config = self._config
        async with background(*(supervisor.keep_running(actor) for actor in roles.actors(config))):
            await supervisor.finish(roles.learner(config))

    async def _stage(
        self, name: str, product: Path, work: Callable[[], Awaitable[None]], *, again: bool = False
    ) -> None:
        if not again and await asyncio.to_thread(product.exists):
            log.info("skipped stage=%r product=%s", name, product)
            return
        log.info("began stage=%r", name)
        self._view.stage(name)
        with self._clock.measure(name):
            await work()
        log.info("finished stage=%r seconds=%.1f", name, self._clock.seconds[name])

    def _is_trained(self) -> bool:
        """Whether an earlier start of this command reached the last step."""
        if not self._folder.summary.exists() or not self._folder.final_model.exists():
            return False
        return (
            int(json.loads(self._folder.summary.read_text()).get("steps", -1)) >= self._config.learner.steps
        )
