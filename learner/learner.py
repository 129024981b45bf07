"""The learner: takes optimizer steps on complete groups, and never waits for the slowest episode.

    take_batch -> advantages -> step on all ranks -> ledger -> publish -> horizon -> metrics -> checkpoint

Consumes complete groups from the dispatcher, produces policy versions for the actors. It waits for groups
(deadline `batch_s`) and for its ranks; actors are woken by the publication and by the slots that
consumption frees.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from common.aio import background
from common.bus.bus import LearnerBus
from common.errors import PronghornError
from common.metrics import MetricsWriter
from common.run_directory import RunDirectory, write_json
from common.trajectory import Group, TaskReference
from learner.batch_builder import BatchBuilder, StepBatch
from learner.checkpoint import CheckpointStore
from learner.config import LearnerRoleConfig
from learner.dispatcher import Dispatcher
from learner.door import Door
from learner.evaluation import summarize
from learner.horizon import horizon_at
from learner.ledger import Ledger
from learner.publisher import Publisher
from learner.ranks import TrainerThread
from learner.status import Status
from learner.summary import evidence, summarize_run

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Parts:
    """What a learner is made of; `learner/__main__.py` and `launch/local.py` put them together."""

    bus: LearnerBus
    trainer: TrainerThread
    ledger: Ledger
    dispatcher: Dispatcher
    door: Door
    publisher: Publisher
    metrics: MetricsWriter
    checkpoints: CheckpointStore
    heldout: tuple[TaskReference, ...]


class Learner:
    """One logical learner; rank 0 holds this object, the other ranks serve its trainer."""

    def __init__(
        self,
        config: LearnerRoleConfig,
        parts: Parts,
        *,
        version: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = config
        self._parts = parts
        self._version = version
        self._folder: RunDirectory = config.run.folder
        self._builder = BatchBuilder(config.learner)
        self._clock = clock
        self._measured_at: float | None = None
        """When the last step was measured, put off by what evaluations took since; None before the first."""
        self._status = Status(self._folder.status, config.learner.steps, parts.dispatcher, parts.door)

    async def run(self) -> bool:
        """Train to the last step and evaluate; True when finished, False when stopped early in good order."""
        parts = self._parts
        await parts.dispatcher.restore()
        async with background(
            parts.door.receive(), parts.door.serve(), parts.door.watch(), self._status.write()
        ):
            await self._publish(time.time())
            finished = await self._train_and_evaluate()
            await parts.door.stop("the run is finished" if finished else "the learner was asked to stop")
        return finished

    def stop(self) -> None:
        """Finish the step in progress, keep a checkpoint, and return from `run`."""
        self._parts.dispatcher.stop()

    async def _train_and_evaluate(self) -> bool:
        parts, last = self._parts, self._config.learner.steps
        if not await self._evaluate("before"):
            return False
        parts.dispatcher.is_training = True
        await parts.door.grant()
        every = self._config.evaluation.every
        while self._version < last:
            # Before the step and not after the last one: a run that was stopped here evaluates first.
            is_due = every and self._version and self._version % every == 0
            goes_on = not is_due or await self._evaluate(f"step {self._version}")
            if not goes_on or not await self._step(self._version + 1):
                await self._checkpoint()
                return False
        parts.dispatcher.is_training = False
        if not await self._evaluate("after"):
            return False
        await parts.trainer.save_huggingface(self._folder.final_model)
        self._write_summary()
        return True

    # --- one step ----------------------------------------------------------------------------

    async def _step(self, step: int) -> bool:
        """Step `step`, whole: trained, recorded, published, measured. False when asked to stop instead."""
        began = self._clock()
        groups = await self._next_groups()
        if not groups:
            return False
        waited = self._clock() - began
        received = [
            await self._parts.dispatcher.call_ledger(self._parts.ledger.received_versions, g.group)
            for g in groups
        ]
        batch = self._builder.build(groups, received, self._version)
        if step == 1:
            await self._refuse_a_lying_ratio(batch)
        training = self._clock()
        statistics = await self._parts.trainer.step(batch.batch, step, self._config.sampling.temperature)
        finished_at, trained = time.time(), self._clock() - training
        await self._parts.dispatcher.consumed(
            step, groups, max_staleness=batch.max_staleness, num_tokens=batch.num_trained_tokens
        )
        self._version = step
        await self._set_horizon()
        published = await self._publish(finished_at)
        await self._parts.door.grant()
        since = began if self._measured_at is None else self._measured_at
        self._measured_at = self._clock()
        times = {
            "training": trained,
            "weight_sync": published,
            "waiting": waited,
            "step": self._measured_at - since,
        }
        await self._measure(step, groups, batch, statistics.metrics(), times)
        if step % self._config.learner.checkpoint_every == 0 or step == self._config.learner.steps:
            await self._checkpoint()
        return True

    async def _next_groups(self) -> list[Group]:
        deadline = self._config.learner.batch_s
        try:
            async with asyncio.timeout(deadline):
                return await self._parts.dispatcher.take_batch()
        except TimeoutError:
            book = self._parts.dispatcher.book
            raise PronghornError(
                f"no batch within learner.batch_s = {deadline:g} s: {len(book.actors)} actors connected, "
                f"{book.num_out} episodes in play, {self._parts.dispatcher.queue} complete groups waiting"
            ) from None

    async def _refuse_a_lying_ratio(self, batch: StepBatch) -> None:
        """Stop before the first step when engine and learner disagree about the same weights' tokens."""
        mismatch = await self._parts.trainer.mismatch(
            batch.batch, self._version, self._config.sampling.temperature
        )
        limit = self._config.learner.max_logprob_mismatch
        log.info("compared engine_and_learner_logprobs mean_abs=%.5f limit=%.5f", mismatch, limit)
        if not mismatch <= limit:
            raise PronghornError(
                f"engine and learner disagree by {mismatch:.4f} nats per token on version {self._version}, "
                f"more than learner.max_logprob_mismatch = {limit:g}: the importance ratio would be a lie"
            )

    async def _set_horizon(self) -> None:
        """The schedule's horizon for the next step; groups opened from now on are stamped with it."""
        seen = []
        if self._config.horizon.kind == "adaptive":
            seen = await self._parts.dispatcher.call_ledger(evidence, self._parts.ledger)
        horizon = horizon_at(self._config.horizon, self._version + 1, seen)
        if horizon != self._parts.dispatcher.horizon:
            log.info("raised horizon=%d step=%d", horizon, self._version + 1)
        self._parts.dispatcher.horizon = horizon

    async def _publish(self, finished_at: float) -> float:
        return await self._parts.publisher.publish(
            self._version, self._parts.dispatcher.horizon, finished_at=finished_at
        )

    async def _measure(
        self,
        step: int,
        groups: list[Group],
        batch: StepBatch,
        statistics: dict[str, float],
        times: dict[str, float],
    ) -> None:
        trained = [t for group in groups for t in group.trajectories]
        values = self._parts.dispatcher.tally.flush(trained) | batch.values
        values |= {f"train/{name}": value for name, value in statistics.items()}
        values |= {f"time/{name}_s": seconds for name, seconds in times.items()}
        values |= self._status.engine_values()
        values["horizon/current"] = float(self._parts.dispatcher.horizon)
        values["throughput/trained_tokens_per_s"] = batch.num_trained_tokens / times["step"]
        values["throughput/read_tokens_per_s"] = batch.num_tokens / times["training"]
        await self._parts.dispatcher.call_ledger(self._parts.ledger.record_step_values, step, values)
        await asyncio.to_thread(self._parts.metrics.write, values, step)
        self._status.stepped(step, values)
        log.info(
            "stepped step=%d horizon=%d success=%.3f loss=%.5f staleness=%.2f seconds=%.1f",
            step,
            self._parts.dispatcher.horizon,
            values.get("train/success", float("nan")),
            values["train/loss"],
            values["staleness/mean"],
            times["step"],
        )

    # --- evaluation, checkpoints, result -----------------------------------------------------

    async def _evaluate(self, label: str) -> bool:
        """Play the held-out tasks once under `label`, unless recorded already. False when asked to stop."""
        config, parts = self._config.evaluation, self._parts
        known = await parts.dispatcher.call_ledger(parts.ledger.evaluation, label)
        if known is not None or not self._parts.heldout:
            return not parts.dispatcher.is_stopping
        began = self._clock()
        self._status.stage = f"evaluating {label}"
        horizon = config.horizon or self._config.horizon.rounds[-1]
        sampling = self._config.sampling.model_copy(update={"temperature": config.temperature})
        await parts.dispatcher.open_evaluation(label, parts.heldout, horizon=horizon, sampling=sampling)
        await parts.door.grant()
        trajectories = await parts.dispatcher.evaluation(label)
        self._status.stage = "training"
        if not trajectories:
            return False
        values = summarize(trajectories)
        await self._record(label, values)
        if self._measured_at is not None:
            self._measured_at += self._clock() - began
        return True

    async def _record(self, label: str, values: dict[str, Any]) -> None:
        parts = self._parts
        await parts.dispatcher.call_ledger(
            parts.ledger.record_evaluation, label, step=self._version, version=self._version, values=values
        )
        curve = {f"heldout/{name}": value for name, value in values.items() if isinstance(value, float)}
        await asyncio.to_thread(parts.metrics.write, curve, self._version)
        self._status.heldout = values["success"]
        log.info(
            "evaluated label=%s version=%d success=%.3f low=%.3f high=%.3f tasks=%d",
            label,
            self._version,
            values["success"],
            values["low"],
            values["high"],
            values["num_tasks"],
        )

    async def _checkpoint(self) -> None:
        """Keep everything that a resume needs, under the ledger position it belongs to."""
        if self._version == 0:
            return
        state = await self._parts.trainer.state()
        await asyncio.to_thread(self._parts.checkpoints.save, state, {"step": self._version})

    def _write_summary(self) -> None:
        write_json(self._folder.summary, summarize_run(self._parts.ledger))
