"""The dispatcher in the model: the learner's own lease book, capacity and door, without a ledger or a bus.

open groups -> LeaseBook -> actors -> submit -> complete -> take -> consumed
                                                         \\-> dropped and refilled
"""

from collections import deque
from dataclasses import dataclass, field
from random import Random

import simpy

from common.messages import Lease, Sampling
from common.trajectory import TaskReference
from launch.plan.config import PlannedConfig
from launch.plan.engine import Spans
from launch.plan.episodes import Episode, PlayedGroup, Workload
from launch.plan.record import Record
from learner.leases import LeaseBook
from learner.ledger_records import OpenGroup, Purpose
from learner.staleness import max_outstanding, min_version

TASK = TaskReference(environment="simulated", task="drawn")
SAMPLING = Sampling()


@dataclass(eq=False)
class Group:
    """One group in the model."""

    played: PlayedGroup
    horizon: int
    purpose: Purpose
    spans: dict[int, Spans] = field(default_factory=dict)
    """By member that has arrived: which version sampled how many tokens."""
    received: dict[int, int] = field(default_factory=dict)
    """The learner's version then."""

    def ages(self, member: int, version: int) -> list[tuple[int, int]]:
        """(staleness at `version`, tokens) of a member."""
        return [(version - at, number) for at, number in self.spans[member]]

    def oldest(self, version: int) -> int:
        """Staleness of its oldest token."""
        return max((age for m in self.spans for age, _ in self.ages(m, version)), default=0)


class SimulatedDispatcher:
    """Which group is played next and by whom; leases that go out are left in `granted`."""

    def __init__(
        self,
        env: simpy.Environment,
        config: PlannedConfig,
        workload: Workload,
        record: Record,
        random: Random,
        *,
        horizon: int,
    ) -> None:
        self.version = 0
        self.horizon = horizon
        self.is_training = False
        self.book = LeaseBook("plan", lambda: env.now)
        self.groups: dict[int, Group] = {}
        """Opened and not yet consumed or dropped."""
        self.complete: dict[int, Group] = {}
        self.held_out: deque[int] = deque()
        """Groups of an evaluation that were not offered yet."""
        self.evaluating: set[int] = set()
        self.granted: deque[tuple[str, Lease]] = deque()
        """Leases that go out now; whoever calls takes them away."""
        self.evidence: list[tuple[int, bool, bool]] = []
        """(horizon, success, cut) of what was judged since the last step."""
        self._env = env
        self._config = config
        self._workload = workload
        self._record = record
        self._random = random
        self._number = 0
        self.changed = env.event()
        """Happens with the next submission."""
        self._open = 0
        """Training groups that take a slot and are not complete."""

    @property
    def num_training(self) -> int:
        """Training groups that take a slot."""
        return self._open + len(self.complete)

    def episode(self, lease: Lease) -> Episode:
        """What will be played under this lease."""
        return self.groups[lease.identity.group].played.episodes[lease.identity.member]

    # --- granting ----------------------------------------------------------------------------

    def grant(self) -> None:
        """Open as many groups as capacity and credits allow and hand out what is pending."""
        self._offer_held_out()
        if self.is_training:
            self._open_groups()
        for actor, lease in self.book.assign():
            self._record.granted()
            self.granted.append((actor, lease))

    def _open_groups(self) -> None:
        learner = self._config.learner
        capacity = max_outstanding(learner.staleness, learner.groups_per_step)
        wanted = -(-max(0, self.book.num_credits - self.book.num_pending) // learner.group_size)
        for _ in range(min(capacity - self.num_training, wanted)):
            drawn = self._workload.draw(self._random, self.horizon, learner.group_size)
            number = self._opened(drawn, "training")
            self._offer(number, min_version(learner.staleness, self.version))
            self._open += 1
        self._record.most_outstanding = max(self._record.most_outstanding, self.num_training)

    def _opened(self, played: PlayedGroup, purpose: Purpose) -> int:
        number, self._number = self._number, self._number + 1
        self.groups[number] = Group(played, self.horizon, purpose)
        return number

    def _offer(self, number: int, oldest_allowed: int, *, urgent: bool = False) -> None:
        group = self.groups[number]
        offered = OpenGroup(
            number,
            group.purpose,
            "",
            TASK,
            group.horizon,
            len(group.played.episodes),
            self.version,
            frozenset(),
            {},
        )
        self.book.offer(offered, SAMPLING, oldest_allowed, urgent=urgent)

    # --- held-out tasks ----------------------------------------------------------------------

    def open_evaluation(self, number: int) -> None:
        """Offer `number` held-out episodes before any training lease."""
        for _ in range(number):
            played = PlayedGroup(self.horizon, (self._random.choice(self._workload.heldout),))
            group = self._opened(played, "evaluation")
            self.held_out.append(group)
            self.evaluating.add(group)

    def _offer_held_out(self) -> None:
        room, share = len(self.held_out), self._config.evaluation.max_share
        if self.is_training and share < 1 and room:
            offered = len(self.evaluating) - len(self.held_out)
            places = self.book.num_out + self.book.num_credits
            room = max(0, min(room, max(1, int(share * places)) - offered))
        for number in reversed([self.held_out.popleft() for _ in range(room)]):
            self._offer(number, self.version, urgent=True)

    # --- what comes back ---------------------------------------------------------------------

    def submit(self, lease: Lease, spans: Spans) -> None:
        """A trajectory is committed."""
        number, member = lease.identity.group, lease.identity.member
        self.book.settle(number, member)
        group = self.groups[number]
        group.spans[member], group.received[member] = spans, self.version
        self._record.ended("submitted", self._env.now - lease.granted_at)
        if len(group.spans) == len(group.played.episodes):
            self._completed(number, group)
        changed, self.changed = self.changed, self._env.event()
        changed.succeed()

    def fault(self, actor: str, lease: Lease) -> None:
        """The episode broke: its lease is played again."""
        self.book.give_back(actor, lease.identity)
        self._record.ended("faulted", self._env.now - lease.granted_at)

    def _completed(self, number: int, group: Group) -> None:
        if group.purpose == "evaluation":
            self.evaluating.discard(number)
            del self.groups[number]
            return
        self._open -= 1
        learner = self._config.learner
        compares = learner.drops_zero_variance and learner.advantage.compares_group
        if compares and group.played.has_zero_variance:
            self._drop(number, "zero_variance")
            self._judge(group)
        else:
            self.complete[number] = group
            self._record.queue.set(len(self.complete))

    def _drop(self, number: int, reason: str) -> None:
        self.complete.pop(number, None)
        self._record.queue.set(len(self.complete))
        del self.groups[number]
        self._record.dropped[reason] += 1

    def _judge(self, group: Group) -> None:
        """Note what an adaptive horizon is judged by."""
        self.evidence += [(group.horizon, e.is_success, e.is_cut) for e in group.played.episodes]

    # --- consuming ---------------------------------------------------------------------------

    def ready(self) -> list[int]:
        """The groups of the next step, oldest first, when there are enough; too stale ones are dropped."""
        learner = self._config.learner
        for number in [n for n, group in self.complete.items() if self._is_too_stale(group)]:
            self._drop(number, "stale")
        open_ones = (n for n, g in self.groups.items() if g.purpose == "training" and n not in self.complete)
        first = min(open_ones, default=None) if learner.staleness.mode == "wait" else None
        found = [n for n in sorted(self.complete) if first is None or n < first]
        return found[: learner.groups_per_step] if len(found) >= learner.groups_per_step else []

    def _is_too_stale(self, group: Group) -> bool:
        """For any old token under `drop`, else when none is fresh; as `learner.staleness.is_too_stale`."""
        staleness = self._config.learner.staleness
        ages = [age for m in group.spans for age, _ in group.ages(m, self.version)]
        if staleness.mode == "drop":
            return any(age > staleness.max_staleness for age in ages)
        return not any(age <= staleness.max_staleness for age in ages)

    def consumed(self, numbers: list[int]) -> None:
        """A step has trained on these groups: their slots are free and the version rises."""
        for number in numbers:
            self._judge(self.groups.pop(number))
            del self.complete[number]
        self._record.queue.set(len(self.complete))
        self.version += 1
