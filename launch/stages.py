"""The stages of a run: each makes one product in the run folder, whole or not at all.

    tasks -> vocabulary -> model -> demonstrations -> warm start -> training -> summary

A stage whose product is in the run folder is skipped: that is all that resuming is.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Protocol

from common.errors import PreflightError
from envhub.hub import Hub
from launch.config import RunConfig
from launch.demonstrations import write_expert
from launch.report import complete_summary
from launch.run_folder import StageClock, has_reached
from launch.tasks import freeze_tasks, vocabulary_file, write_vocabulary
from launch.view import View

log = logging.getLogger(__name__)


class Work(Protocol):
    """Who carries out the stages that need torch: processes of their own, or this one."""

    @property
    def restarts(self) -> Counter[str]:
        """How often each part had to be started again."""
        ...

    async def make_model(self) -> None:
        """Write `RunDirectory.model`."""
        ...

    async def warm_start(self) -> None:
        """Write `RunDirectory.warm_start` from the demonstrations."""
        ...

    async def train(self) -> None:
        """Learner and actors until the last step. Cancelled: until a checkpoint is written."""
        ...


class Stages:
    """One run's stages in order."""

    def __init__(self, config: RunConfig, view: View, clock: StageClock) -> None:
        self._config = config
        self._folder = config.run.folder
        self._view = view
        self._clock = clock

    async def run(self, hub: Hub, work: Work) -> None:
        """Do every stage that is not yet done, and complete the run's summary."""
        folder = self._folder
        await self.prepare(hub, work)
        await self.stage("training", folder.summary, work.train, again=True)
        complete_summary(folder, self._clock.seconds, dict(work.restarts))

    async def prepare(self, hub: Hub, work: Work) -> None:
        """Every stage before training: afterwards there is a policy zero.

        There is a warm start where there are demonstrations, whoever put them into the run folder.
        """
        config, folder = self._config, self._folder
        await self.stage("tasks", folder.tasks, lambda: freeze_tasks(config, hub))
        if config.model.source == "small":
            await self.stage("vocabulary", vocabulary_file(folder), lambda: write_vocabulary(config, hub))
        await self.stage("model", folder.model, work.make_model)
        if config.sft.num_demonstrations:
            await self.stage("demonstrations", folder.demonstrations, lambda: write_expert(config))
        if await asyncio.to_thread(folder.demonstrations.exists):
            await self.stage("warm start", folder.warm_start, work.warm_start)

    async def stage(
        self, name: str, product: Path, work: Callable[[], Awaitable[None]], *, again: bool = False
    ) -> None:
        """Do `work` unless its product is there."""
        if not again and await asyncio.to_thread(product.exists):
            log.info("skipped stage=%r product=%s", name, product)
            return
        log.info("began stage=%r", name)
        self._view.stage(name)
        with self._clock.measure(name):
            await work()
        log.info("finished stage=%r seconds=%.1f", name, self._clock.seconds[name])


def is_trained(config: RunConfig) -> bool:
    """Whether an earlier start of the same command reached the last step."""
    return has_reached(config.run.folder, config.learner.steps)


async def wait_for_hub(config: RunConfig, hub: Hub) -> None:
    """Return when the hub answers; PreflightError past `supervision.hub_start_s`."""
    if not await hub.healthy(config.supervision.hub_start_s):
        where = ", ".join(config.hub.urls) or f"{config.hub.host}:{config.hub.port}"
        told = "" if config.hub.urls else f" [{config.run.folder.logs / 'hub.log'}]"
        raise PreflightError(
            f"the hub did not answer on {where} within "
            f"supervision.hub_start_s = {config.supervision.hub_start_s:g} s{told}"
        )
