"""`pronghorn local`: the whole system in this process, in one event loop, over the memory bus.

For debugging: a breakpoint stops everything, and a traceback goes through actor and learner alike. Stages,
messages, ledger, weights and files are those of `pronghorn run`; either command resumes what the other began.
There is no hub process (environments play in the loop) and no supervision: what breaks ends the run.
"""

import argparse
import asyncio
import signal
from collections import Counter
from collections.abc import Sequence

from actors.assembly import play_until_stopped
from actors.config import ActorRoleConfig
from common.aio import background
from common.bus.memory import MemoryActorBus, MemoryLearnerBus, MemoryWire
from common.config import load, validate
from common.errors import ConfigurationError
from envhub.local import LocalHub
from launch.config import RunConfig
from launch.pipeline import conduct
from launch.run_folder import StageClock
from launch.stages import Stages
from launch.tasks import vocabulary_file
from launch.view import View
from learner.assembly import opened
from learner.config import LearnerRoleConfig
from learner.dispatcher import Dispatcher
from learner.learner import Learner
from learner.model_source import make_model
from learner.offline.sft import SftRoleConfig, train


def main(options: argparse.Namespace, overrides: Sequence[str]) -> int:
    """Check, lock, run, report; the exit code. ConfigurationError when the learner needs other processes."""
    config = load(RunConfig, options.config, overrides)
    for name in ("num_ranks", "num_hosts"):
        if (number := getattr(config.learner, name)) > 1:
            raise ConfigurationError(
                f"learner.{name} = {number}: `pronghorn local` has one process; allowed is 1"
            )
    return conduct(config, run_in_one_loop)


async def run_in_one_loop(config: RunConfig, view: View, dispatcher: type[Dispatcher] = Dispatcher) -> None:
    """Every stage that is not yet done, in this event loop; `dispatcher` chooses what a step trains on."""
    hub = LocalHub()
    async with background(view.follow()):
        await Stages(config, view, StageClock(config.run.folder)).run(hub, LocalWork(config, hub, dispatcher))


class LocalWork:
    """`Work` done in this process; torch keeps to threads, so that the loop goes on."""

    def __init__(self, config: RunConfig, hub: LocalHub, dispatcher: type[Dispatcher] = Dispatcher) -> None:
        self.restarts: Counter[str] = Counter()
        self._config = config
        self._hub = hub
        self._dispatcher = dispatcher

    async def make_model(self) -> None:
        """As `Work.make_model`."""
        config, folder = self._config, self._config.run.folder
        words = vocabulary_file(folder)
        await asyncio.to_thread(
            make_model, folder.model, config.model, vocabulary=words, seed=config.run.seed
        )

    async def warm_start(self) -> None:
        """As `Work.warm_start`."""
        await asyncio.to_thread(train, validate(SftRoleConfig, self._config.model_dump()))

    async def train(self) -> None:
        """As `Work.train`."""
        config = validate(LearnerRoleConfig, self._config.model_dump())
        wire = MemoryWire(config.bus)

        async with opened(
            config,
            lambda store: MemoryLearnerBus(config.bus, config.run.name, store, wire=wire),
            self._dispatcher,
        ) as learner:
            names = [f"actor-{index}" for index in range(self._config.actor.num_actors)]
            async with background(*(self._play(name, wire) for name in names)):
                await _finish(learner)

    async def _play(self, name: str, wire: MemoryWire) -> None:
        config = validate(ActorRoleConfig, self._config.model_dump())
        bus = MemoryActorBus(config.bus, name, config.run.name, wire=wire)
        await play_until_stopped(config, name, bus, self._hub)


async def _finish(learner: Learner) -> None:
    """Run the learner to its end; on SIGINT or SIGTERM to the end of its step, with a checkpoint kept."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, learner.stop)
    if not await learner.run():
        # What the signal would have meant to any other stage.
        raise asyncio.CancelledError
