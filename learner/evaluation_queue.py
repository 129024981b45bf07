"""Held-out groups: opened, offered within their share of the actors' places, collected when all are played.

The dispatcher calls it under its lock; it waits for nothing but the ledger.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from common.messages import Cancel, FromLearner, Sampling
from common.trajectory import TaskReference, Trajectory
from learner.leases import LeaseBook
from learner.ledger import Ledger
from learner.ledger_records import OpenGroup
from learner.ledger_thread import LedgerThread
from learner.outstanding import Outstanding


@dataclass(frozen=True)
class EvaluationLimits:
    """How the held-out tasks are played."""

    horizon: int
    sampling: Sampling
    version: int
    """The oldest policy that may play."""
    max_share: float
    """Of the actors' places, while training goes on."""


class EvaluationQueue:
    """The groups of one evaluation at a time, each of one member; a task that is sampled often has many."""

    def __init__(self, book: LeaseBook, ledger: Ledger, call: LedgerThread, groups: Outstanding) -> None:
        self._book = book
        self._ledger = ledger
        self._call = call
        self._groups = groups
        self._waiting: deque[OpenGroup] = deque()
        """Opened and not yet offered, in order."""
        self._offered: set[int] = set()
        self._limits = EvaluationLimits(1, Sampling(), 0, 1.0)

    async def open(self, label: str, tasks: Sequence[TaskReference], limits: EvaluationLimits) -> None:
        """Open one group per task, or take up what `label` has open already.

        What another label has open is given up: a run that was stopped amid it has gone past it since.
        """
        for other in await self._call(self._ledger.unfinished_evaluations):
            if other != label:
                await self.abandon(other, limits.version)
        mine = await self._call(self._ledger.evaluation_groups, label)
        if not mine:
            mine = await self._call(
                self._ledger.open_groups,
                tasks,
                purpose="evaluation",
                label=label,
                horizon=limits.horizon,
                size=1,
                version=limits.version,
            )
        unplayed = [group for group in mine if len(group.played) < group.size]
        self._groups.evaluating |= {group.id: label for group in unplayed}
        self._waiting, self._offered = deque(unplayed), set()
        self._limits = limits

    def offer(self, *, is_training: bool) -> None:
        """Offer what may be played now, before any training lease.

        While training goes on, at most `max_share` of the actors' places, and at least one, play held-out
        tasks at the same time; otherwise all may.
        """
        # What actors still held from before a restart may have come in by itself.
        self._waiting = deque(group for group in self._waiting if group.id in self._groups.evaluating)
        room = len(self._waiting)
        share = self._limits.max_share
        if is_training and share < 1:
            self._offered &= self._groups.evaluating.keys()
            places = self._book.num_out + self._book.num_credits
            room = min(room, max(1, int(share * places)) - len(self._offered))
        for group in reversed([self._waiting.popleft() for _ in range(room)]):
            self._offered.add(group.id)
            self._book.offer(group, self._limits.sampling, self._limits.version, urgent=True)

    async def collect(self, label: str) -> list[Trajectory]:
        """What has been played under `label` and is not recorded yet, in the order of opening."""
        played = await self._call(self._ledger.groups_in, "complete", "evaluation")
        records = [await self._call(self._ledger.group, group.id) for group in played if group.label == label]
        return [trajectory for record in records for trajectory in record.trajectories]

    async def abandon(self, label: str, step: int) -> list[tuple[str, FromLearner]]:
        """Drop every group of `label`, played or not; who still plays one is to be told."""
        self._waiting.clear()
        messages: list[tuple[str, FromLearner]] = []
        for group in await self._call(self._ledger.evaluation_groups, label):
            self._groups.forget(group.id)
            await self._call(self._ledger.drop, group.id, "late", step)
            playing = self._book.withdraw(group.id)
            messages += [(actor, Cancel(identity=lease.identity)) for actor, lease in playing]
        return messages
