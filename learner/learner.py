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
from functools import partial

from common.aio import background
from common.bus.bus import LearnerBus
from common.errors import PronghornError
from common.metrics import MetricsWriter
from common.run_directory import RunDirectory, write_json
from common.trajectory import Group, TaskReference
from learner.batch_builder import BatchBuilder, Draft
from learner.checkpoint import CheckpointStore
from learner.checkpoint_keeper import CheckpointKeeper
from learner.config import LearnerRoleConfig
from learner.dispatcher import Dispatcher
from learner.door import Door
from learner.evaluator import Evaluator
from learner.horizon import horizon_at
from learner.ledger import Ledger
from learner.publisher import Publisher
from learner.ranks import Ranks, TrainerThread
from learner.status import Status
from learner.summary import evidence, summarize_run
from learner.updates import take_step

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
        self._builder = BatchBuilder(config.learner, config.run.seed)
        self._clock = clock
        self._keeper = CheckpointKeeper(parts.trainer, parts.checkpoints, kept=version)
        self._measured_at: float | None = None
        """When the last step was measured, put off by what evaluations took since; None before the first."""
        self._status = Status(self._folder.status, config.learner.steps, parts.dispatcher, parts.door)
        self._evaluator = Evaluator(
            config,
            parts.heldout,
            dispatcher=parts.dispatcher,
            door=parts.door,
            ledger=parts.ledger,
            metrics=parts.metrics,
            status=self._status,
        )

    async def run(self) -> bool:
        """Train to the last step and evaluate; True when finished, False when stopped early in good order."""
        parts = self._parts
        await parts.dispatcher.restore()
        doors = (parts.door.receive(), parts.door.serve(), parts.door.watch())
        async with background(*doors, self._status.write(), self._evaluator.serve(), self._keeper.serve()):
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
        while self._version < last:
            # Before the step and not after the last one: a run that was stopped here evaluates first.
            if not await self._evaluate_when_due() or not await self._step(self._version + 1):
                await self._keeper.keep(self._version)
                await self._keeper.settled()
                return False
        parts.dispatcher.is_training = False
        if not await self._evaluator.settled() or not await self._evaluate("after"):
            await self._keeper.settled()
            return False
        await self._keeper.settled()
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
        draft = self._builder.draft(groups, received, self._version)
        if step == 1:
            await self._refuse_a_lying_ratio(draft)
        training = self._clock()
        statistics = await self._parts.trainer.run(partial(self._train, draft, step))
        finished_at, trained = time.time(), self._clock() - training
        await self._parts.dispatcher.consumed(
            step,
            groups,
            max_staleness=draft.max_staleness,
            num_tokens=draft.num_trained_tokens,
            next_horizon=partial(self._horizon_after, step),
        )
        self._version = step
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
        await self._measure(step, groups, draft, statistics, times)
        if step % self._config.learner.checkpoint_every == 0 or step == self._config.learner.steps:
            await self._keeper.keep(step)
        return True

    def _train(self, draft: Draft, step: int, ranks: Ranks) -> dict[str, float]:
        """On the trainer's thread: the updates of the step; their numbers."""
        temperature = self._config.sampling.temperature
        done = take_step(
            ranks, self._builder, draft, self._config.learner, step=step, temperature=temperature
        )
        return done.metrics()

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

    async def _refuse_a_lying_ratio(self, draft: Draft) -> None:
        """Stop before the first step when engine and learner disagree about the same weights' tokens."""
        mismatch = await self._parts.trainer.mismatch(
            self._builder.packed(draft.sequences), self._version, self._config.sampling.temperature
        )
        limit = self._config.learner.max_logprob_mismatch
        log.info("compared engine_and_learner_logprobs mean_abs=%.5f limit=%.5f", mismatch, limit)
        if not mismatch <= limit:
            raise PronghornError(
                f"engine and learner disagree by {mismatch:.4f} nats per token on version {self._version}, "
                f"more than learner.max_logprob_mismatch = {limit:g}: the importance ratio would be a lie"
            )

    def _horizon_after(self, step: int) -> int:
        """The schedule's horizon for the next step; called on the ledger's thread."""
        seen = evidence(self._parts.ledger) if self._config.horizon.kind == "adaptive" else []
        horizon = horizon_at(self._config.horizon, step + 1, seen)
        if horizon != self._parts.dispatcher.horizon:
            log.info("raised horizon=%d step=%d", horizon, step + 1)
        return horizon

    async def _publish(self, finished_at: float) -> float:
        return await self._parts.publisher.publish(
            self._version, self._parts.dispatcher.horizon, finished_at=finished_at
        )

    async def _measure(
        self,
        step: int,
        groups: list[Group],
        draft: Draft,
        statistics: dict[str, float],
        times: dict[str, float],
    ) -> None:
        trained = [t for group in groups for t in group.trajectories]
        values = self._parts.dispatcher.tally.flush(trained) | draft.values
        values |= {f"train/{name}": value for name, value in statistics.items()}
        values |= {f"time/{name}_s": seconds for name, seconds in times.items()}
        values |= self._status.engine_values()
        values["horizon/current"] = float(self._parts.dispatcher.horizon)
        values["throughput/trained_tokens_per_s"] = draft.num_trained_tokens / times["step"]
        values["throughput/read_tokens_per_s"] = draft.num_tokens / times["training"]
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

    # --- evaluation, result ------------------------------------------------------------------

    async def _evaluate_when_due(self) -> bool:
        """The evaluation between two steps, where training waits for it. False when asked to stop."""
        config, version = self._config.evaluation, self._version
        if config.is_concurrent:
            self._evaluator.follow(version)
            return True
        is_due = config.every and version and version % config.every == 0
        return not is_due or await self._evaluate(f"step {version}")

    async def _evaluate(self, label: str) -> bool:
        """Play the held-out tasks with the present version. False when asked to stop."""
        began = self._clock()
        goes_on = await self._evaluator.play(label, self._version)
        if self._measured_at is not None:
            self._measured_at += self._clock() - began
        return goes_on

    def _write_summary(self) -> None:
        write_json(self._folder.summary, summarize_run(self._parts.ledger))
