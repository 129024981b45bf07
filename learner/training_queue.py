"""Training groups: opened as capacity and credits allow, and offered to the actors.

The dispatcher calls it under its lock; it waits for nothing but the ledger.
"""

from common.messages import Sampling
from learner.config import LearnerConfig
from learner.leases import LeaseBook
from learner.ledger import Ledger
from learner.ledger_thread import LedgerThread
from learner.outstanding import Outstanding
from learner.staleness import max_outstanding, min_version
from learner.task_order import TaskSource


class TrainingQueue:
    """The groups of the task order, each offered whole when it is opened."""

    def __init__(
        self,
        config: LearnerConfig,
        book: LeaseBook,
        ledger: Ledger,
        call: LedgerThread,
        groups: Outstanding,
        tasks: TaskSource,
        sampling: Sampling,
    ) -> None:
        self._config = config
        self._book = book
        self._ledger = ledger
        self._call = call
        self._groups = groups
        self._tasks = tasks
        self._sampling = sampling

    async def restore(self, version: int) -> None:
        """Offer again what the ledger has open, to be played by `version` or a newer one."""
        for known in await self._call(self._ledger.groups_in, "open", "training"):
            self._groups.open[known.id] = known
            later = max(version, known.granted_version)  # back at a checkpoint it may be later
            self._book.offer(known, self._sampling, min_version(self._config.staleness, later))

    async def open(self, *, horizon: int, version: int) -> None:
        """Open as many groups as the actors have asked for and `max_outstanding` has room for."""
        size = self._config.group_size
        capacity = max_outstanding(self._config.staleness, self._config.groups_per_step)
        wanted = -(-max(0, self._book.num_credits - self._book.num_pending) // size)
        number = min(capacity - self._groups.num_training, wanted)
        if number <= 0:
            return
        cursor = await self._call(self._ledger.num_groups)
        opened = await self._call(
            self._ledger.open_groups,
            await self._call(self._tasks.take, cursor, number, version),
            purpose="training",
            label="",
            horizon=horizon,
            size=size,
            version=version,
        )
        for group in opened:
            self._groups.open[group.id] = group
            self._book.offer(group, self._sampling, min_version(self._config.staleness, version))
