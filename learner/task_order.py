"""The order in which training tasks are played: every task once per epoch, each epoch shuffled anew."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from common.seeding import derive_seed
from common.trajectory import TaskReference


class TaskOrder:
    """An endless sequence of tasks; seed and position alone decide, so a resume continues it."""

    def __init__(self, tasks: Sequence[TaskReference], seed: int) -> None:
        if not tasks:
            raise ValueError("no training tasks")
        self._tasks = tuple(tasks)
        self._seed = seed
        self._epoch = lru_cache(maxsize=2)(self._shuffled)

    def _shuffled(self, epoch: int) -> tuple[int, ...]:
        generator = np.random.default_rng(derive_seed(self._seed, "task order", epoch))
        return tuple(int(i) for i in generator.permutation(len(self._tasks)))

    def __getitem__(self, position: int) -> TaskReference:
        """The task of the `position`-th training group; its seed is derived from the position."""
        epoch, index = divmod(position, len(self._tasks))
        task = self._tasks[self._epoch(epoch)[index]]
        seed = derive_seed(self._seed, "task seed", position) % (1 << 31)
        return task.model_copy(update={"seed": seed})
