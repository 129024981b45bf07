"""The dispatcher: opens groups, grants their leases, takes trajectories in, gives complete ones to the step.

    open_groups -> LeaseBook -> actors -> submit -> ledger -> complete -> take_batch -> consumed
                                                                  \\-> dropped and refilled

It waits for nothing but the ledger. `take_batch` waits for groups and is woken by `submit`; a slot that
`consumed` frees is granted at once. One lock makes every change of state whole.
"""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import ParamSpec, TypeVar

import numpy as np

from common.aio import within
from common.errors import PronghornError
from common.messages import Ack, Cancel, FromLearner, Grant, Lease, Sampling
from common.trajectory import Group, Member, TaskReference, Trajectory
from learner.advantage import has_zero_variance
from learner.config import LearnerConfig
from learner.evaluation_queue import EvaluationLimits, EvaluationQueue
from learner.leases import LeaseBook
from learner.ledger import Ledger
from learner.ledger_records import COUNTED, LeaseEnd
from learner.ledger_thread import LedgerThread
from learner.outstanding import Outstanding
from learner.tally import Tally
from learner.task_order import TaskSource
from learner.training_queue import TrainingQueue

P = ParamSpec("P")
R = TypeVar("R")
Outgoing = list[tuple[str, FromLearner]]

MAX_ATTEMPTS = 20
"""A member that faulted so often takes its group out of the run: the environment cannot play this task."""


class Dispatcher:
    """Which group is played next, by whom, and which groups the next step trains on.

    `consumed` sets `version` and `horizon` after every step; groups are stamped with them when opened.
    """

    def __init__(
        self,
        config: LearnerConfig,
        ledger: Ledger,
        book: LeaseBook,
        tasks: TaskSource,
        sampling: Sampling,
        *,
        horizon: int,
        version: int,
    ) -> None:
        self.version = version
        self.horizon = horizon
        self.is_training = False
        """While False no training group is opened; evaluation leases are granted all the same."""
        self.is_stopping = False
        """Set by `stop`: whoever waits for a batch or an evaluation gets an empty one at once."""
        self.tally = Tally()
        self.book = book
        """Who plays what."""
        self._config = config
        self._ledger = ledger
        self._tasks = tasks
        self._lock = asyncio.Lock()
        self._changed = asyncio.Event()
        self._call = LedgerThread()
        self._groups = Outstanding()
        self._evaluations = EvaluationQueue(book, ledger, self._call, self._groups)
        self._training = TrainingQueue(config, book, ledger, self._call, self._groups, tasks, sampling)

    # --- start and end -----------------------------------------------------------------------

    async def restore(self) -> None:
        """Take up what the ledger knows: complete groups wait to be consumed, open ones are granted again."""
        async with self._lock:
            await self._call(self._ledger.end_all_leases, "restarted")
            for known in await self._call(self._ledger.groups_in, "complete", "training"):
                await self._completed(known.id)
            await self._training.restore(self.version)
            # Not offered before the evaluation is opened again; but actors may still hold their episodes.
            for known in await self._call(self._ledger.groups_in, "open", "evaluation"):
                self._groups.evaluating[known.id] = known.label

    async def call_ledger(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run a ledger method between two changes of state."""
        async with self._lock:
            return await self._call(function, *args, **kwargs)

    def close(self) -> None:
        """Wait for the ledger's thread; nothing may be called afterwards."""
        self._call.close()

    def stop(self) -> None:
        """Open no more groups and wake whoever waits; what is in play may still be submitted."""
        self.is_training, self.is_stopping = False, True
        self._changed.set()

    # --- what actors say ---------------------------------------------------------------------

    async def join(self, actor: str) -> None:
        """An actor connected (again)."""
        async with self._lock:
            await self._end(self.book.join(actor), "rejoined")

    async def leave(self, actor: str, why: LeaseEnd) -> None:
        """An actor left or fell silent; its leases go to others."""
        async with self._lock:
            await self._end(self.book.leave(actor), why)

    async def _end(self, leases: Sequence[Lease], why: LeaseEnd) -> None:
        ended = [(x.identity.group, x.identity.member, x.identity.attempt) for x in leases]
        await self._call(self._ledger.end_leases, ended, why)
        if ended and why != "refused":
            self.tally.count("faults" if why == "faulted" else "returned_leases", len(ended))

    async def reconcile(self, actor: str, held: Sequence[tuple[int, int]], grace_s: float) -> None:
        """What was granted more than `grace_s` ago and the actor does not hold is played anew."""
        async with self._lock:
            if lost := self.book.reconcile(actor, held, grace_s):
                await self._end(lost, "undelivered")

    async def fault(self, actor: str, identity: Member) -> Outgoing:
        """The environment or the engine broke: the lease is played again, never scored."""
        async with self._lock:
            return await self._play_again(actor, identity, "faulted")

    async def _play_again(self, actor: str, identity: Member, why: LeaseEnd) -> Outgoing:
        """The lease, if the actor holds it, goes to the next attempt, and after the last takes its group."""
        if (lease := self.book.give_back(actor, identity)) is None:
            return []
        await self._end([lease], why)
        return await self._drop(identity.group, "faulted") if identity.attempt + 1 >= MAX_ATTEMPTS else []

    async def submit(self, submissions: Sequence[tuple[str, Trajectory]]) -> Outgoing:
        """Commit trajectories; the returned acknowledgements are true: what they name is on the disk."""
        async with self._lock:
            played = [trajectory for _, trajectory in submissions]
            commit = partial(self._ledger.commit_submissions, only_granted=True)
            arrivals = await self._call(commit, played, self.version)
            replies: Outgoing = []
            for (actor, _), arrival in zip(submissions, arrivals, strict=True):
                identity = arrival.trajectory.identity
                replies.append((actor, Ack(identity=identity, is_duplicate=arrival.verdict != "stored")))
                if arrival.verdict != "stored":
                    self.tally.count(COUNTED[arrival.verdict])
                    # It forgets what it sent; if it holds the lease, somebody must play it.
                    replies += await self._play_again(actor, identity, "refused")
                    continue
                for other, lease in self.book.settle(identity.group, identity.member):
                    if (other, lease.identity.attempt) != (actor, identity.attempt):
                        replies.append((other, Cancel(identity=lease.identity)))
                if identity.group not in self._groups.evaluating:
                    self.tally.add(arrival.trajectory)
                if arrival.completes:
                    replies += await self._completed(identity.group)
            self._changed.set()
            return replies

    async def _completed(self, group_id: int) -> Outgoing:
        is_evaluation = group_id in self._groups.evaluating
        self._groups.forget(group_id)
        if is_evaluation:
            return []
        group = await self._call(self._ledger.group, group_id)
        compares = self._config.drops_zero_variance and self._config.advantage.compares_group
        if compares and has_zero_variance(np.array([t.episode_return for t in group.trajectories])):
            return await self._drop(group_id, "zero_variance")
        self._groups.complete[group_id] = group
        return []

    async def _drop(self, group_id: int, reason: str) -> Outgoing:
        self._groups.forget(group_id)
        await self._call(self._ledger.drop, group_id, reason, self.version + 1)
        self.tally.count(f"dropped_{reason}")
        self._changed.set()
        return [(actor, Cancel(identity=lease.identity)) for actor, lease in self.book.withdraw(group_id)]

    # --- granting ----------------------------------------------------------------------------

    async def grants(self) -> Outgoing:
        """Open as many groups as capacity and credits allow and assign what is pending."""
        async with self._lock:
            self._evaluations.offer(is_training=self.is_training)
            if self.is_training:
                await self._training.open(horizon=self.horizon, version=self.version)
            assigned = self.book.assign()
            rows = [(x.identity.group, x.identity.member, x.identity.attempt, actor) for actor, x in assigned]
            if rows:
                await self._call(self._ledger.record_grants, rows)
            return [(actor, Grant(lease=lease)) for actor, lease in assigned]

    # --- consuming ---------------------------------------------------------------------------

    async def take_batch(self) -> list[Group]:
        """Wait for `groups_per_step` complete groups that may be trained on, oldest first.

        They stay outstanding until `consumed`. Too stale ones are dropped. Empty when asked to stop.
        """
        while not self.is_stopping:
            async with self._lock:
                self._changed.clear()
                staleness, number = self._config.staleness, self._config.groups_per_step
                for group in self._groups.too_stale(self.version, staleness, number):
                    await self._drop(group, "stale")
                if len(ready := self._groups.ready(self.version, staleness)) >= number:
                    return list(ready[:number])
            await self._changed.wait()
        return []

    async def consumed(
        self,
        step: int,
        groups: Sequence[Group],
        *,
        max_staleness: int,
        num_tokens: int,
        next_horizon: Callable[[], int] | None = None,
    ) -> None:
        """Step `step` trained on these groups: recorded for good, their slots freed.

        What is opened from now on is played to `next_horizon`, asked for after the step was recorded.
        """
        async with self._lock:
            ids = [g.group for g in groups]
            await self._call(
                self._ledger.consume,
                step,
                ids,
                horizon=self.horizon,
                max_staleness=max_staleness,
                num_tokens=num_tokens,
            )
            for group_id in ids:
                self._groups.forget(group_id)
            self.version = step
            if next_horizon is not None:
                self.horizon = await self._call(next_horizon)
            self.tally.note(await self._call(self._tasks.values))

    # --- evaluation --------------------------------------------------------------------------

    async def open_evaluation(
        self,
        label: str,
        tasks: Sequence[TaskReference],
        *,
        horizon: int,
        sampling: Sampling,
        max_share: float = 1.0,
    ) -> None:
        """Offer each task once, for the present version or a newer one, before any training lease.

        While training goes on they take at most `max_share` of the actors' places at a time. What was opened
        under this label before a restart is taken up where it was.
        """
        async with self._lock:
            limits = EvaluationLimits(horizon, sampling, self.version, max_share)
            await self._evaluations.open(label, tasks, limits)

    async def evaluation(self, label: str) -> list[Trajectory]:
        """Wait until every task of an opened evaluation has been played; empty when asked to stop.

        A task that could not be played is left out. PronghornError when nothing arrives for `batch_s`.
        """
        while label in self._groups.evaluating.values():
            if self.is_stopping:
                return []
            self._changed.clear()
            what = f"evaluation {label!r}: {len(self.book.actors)} actors, {self.book.num_out} in play: they"
            await within(self._config.batch_s, self._changed.wait(), what, PronghornError)
        async with self._lock:
            return await self._evaluations.collect(label)

    async def abandon_evaluation(self, label: str) -> Outgoing:
        """Give up an evaluation that is not recorded: nothing of it will ever count."""
        async with self._lock:
            return await self._evaluations.abandon(label, self.version)

    @property
    def queue(self) -> int:
        """Complete groups that wait for a step."""
        return len(self._groups.complete)
