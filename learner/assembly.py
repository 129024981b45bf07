"""Puts a learner together from its configuration; where it resumes is read from the run directory."""

import json
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path

from common.bus.bus import LearnerBus
from common.errors import ConfigurationError
from common.metrics import MetricsWriter
from common.trajectory import TaskReference
from common.weights.store import WeightStore
from learner.checkpoint import CheckpointStore
from learner.conditions import found, record
from learner.config import LearnerRoleConfig
from learner.curriculum import Curriculum
from learner.dispatcher import Dispatcher
from learner.door import Door
from learner.horizon import horizon_at
from learner.learner import Learner, Parts
from learner.leases import LeaseBook
from learner.ledger import Ledger
from learner.publisher import Publisher
from learner.ranks import TrainerThread, open_trainer
from learner.summary import evidence
from learner.task_order import TaskOrder, TaskSource

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Tasks:
    """The tasks that were frozen when the run began."""

    train: tuple[TaskReference, ...]
    heldout: tuple[TaskReference, ...]
    weights: dict[str, float]
    """Environment -> its share of the groups; empty: every task counts alike."""


def read_tasks(path: Path) -> Tasks:
    """The run's `tasks.json`; ConfigurationError when there is none or it holds no training task."""
    try:
        rows = json.loads(path.read_text())
    except FileNotFoundError:
        raise ConfigurationError(f"{path}: no task list; `pronghorn run` writes it") from None
    tasks = {
        name: tuple(TaskReference.model_validate(row) for row in rows[name]) for name in ("train", "heldout")
    }
    if not tasks["train"]:
        raise ConfigurationError(f"{path}: the list of training tasks is empty")
    return Tasks(**tasks, weights=rows.get("weights", {}))


@asynccontextmanager
async def opened(
    config: LearnerRoleConfig,
    bus_for: Callable[[WeightStore], LearnerBus],
    dispatcher: type[Dispatcher] = Dispatcher,
) -> AsyncIterator[Learner]:
    """A learner of the run on a bus that is started, with its rank 0; everything is closed with the body.

    `bus_for` makes the bus that offers the weights of the given store. `dispatcher` may hold batches back.
    """
    folder = config.run.folder
    async with AsyncExitStack() as stack:
        metrics = MetricsWriter(
            folder,
            wandb_mode=config.monitor.wandb,
            project=config.monitor.project,
            name=config.run.name,
            config=config.model_dump(),
        )
        stack.callback(metrics.close)
        store = stack.enter_context(WeightStore(folder.path, keep=config.relay.keep_versions))
        bus = bus_for(store)
        stack.push_async_callback(bus.close)
        await bus.start()
        trainer = TrainerThread(lambda: open_trainer(folder.policy_zero, config.learner, config.model))
        trainer = await stack.enter_async_context(trainer)
        ledger = stack.enter_context(closing(Ledger(folder.ledger, config.run.name)))
        parts = await _assemble(config, bus, store, trainer, ledger, metrics, dispatcher)
        stack.callback(parts.dispatcher.close)
        yield Learner(config, parts, version=parts.dispatcher.version)


async def _assemble(
    config: LearnerRoleConfig,
    bus: LearnerBus,
    store: WeightStore,
    trainer: TrainerThread,
    ledger: Ledger,
    metrics: MetricsWriter,
    make_dispatcher: type[Dispatcher],
) -> Parts:
    """The parts of a learner that continues from the run's newest whole checkpoint, or begins at version 0.

    What was consumed after that checkpoint is given back to the queue: it is trained on once in the history
    that counts.
    """
    folder = config.run.folder
    tasks = read_tasks(folder.tasks)
    checkpoints = CheckpointStore(
        folder.checkpoints, keep=config.learner.keep_checkpoints, keep_every=config.learner.keep_every
    )
    await trainer.run(lambda ranks: ranks.refuse_unshared(checkpoints.folder))
    version = await _restore(checkpoints, trainer)
    await trainer.run(lambda ranks: record(folder.path, version, found(config.learner, ranks.device)))
    ledger.refuse_shorter_than(version)
    again = ledger.rewind(version)
    if version < config.learner.steps:
        # A finished run that was given more steps: its end is now a step like others.
        ledger.relabel_evaluation("after")
    log.info("assembled version=%d groups_given_back=%d", version, again)
    dispatcher = make_dispatcher(
        config.learner,
        ledger,
        LeaseBook(config.run.name, time.monotonic, ledger=ledger.name),
        task_source(tasks, config, ledger),
        config.sampling,
        horizon=horizon_at(config.horizon, version + 1, evidence(ledger)),
        version=version,
    )
    return Parts(
        bus=bus,
        trainer=trainer,
        ledger=ledger,
        dispatcher=dispatcher,
        door=Door(bus, dispatcher, config.bus),
        publisher=Publisher(bus, store, trainer, config.sampling, config.model.dtype),
        metrics=metrics,
        checkpoints=checkpoints,
        heldout=tasks.heldout,
    )


def task_source(tasks: Tasks, config: LearnerRoleConfig, ledger: Ledger) -> TaskSource:
    """Every task once per epoch, or by the curriculum of `learner.curriculum`."""
    curriculum, seed = config.learner.curriculum, config.run.seed
    if curriculum.kind == "pools":
        return Curriculum(tasks.train, seed, tasks.weights, curriculum, ledger)
    return TaskOrder(tasks.train, seed, tasks.weights)


async def _restore(checkpoints: CheckpointStore, trainer: TrainerThread) -> int:
    """Continue from the newest whole checkpoint; the policy version that it holds, 0 without one."""
    path = checkpoints.latest()
    if path is None:
        return 0
    manifest = await trainer.run(lambda ranks: ranks.load(path))
    version = int(manifest.ledger["step"])
    log.info("resumed checkpoint=%s version=%d", path.name, version)
    return version
