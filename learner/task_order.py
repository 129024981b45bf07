"""The order in which training tasks are played: every task once per epoch, each epoch shuffled anew.

Several environments take turns by their weights, each with epochs of its own.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np

from common.seeding import derive_seed
from common.trajectory import TaskReference


class TaskOrder:
    """An endless sequence of tasks; seed and position alone decide, so a resume continues it.

    `weights` are the environments' shares of the groups; without them every task counts alike. Raises
    ValueError when there are no tasks, or none of an environment that has a weight.
    """

    def __init__(
        self, tasks: Sequence[TaskReference], seed: int, weights: Mapping[str, float] | None = None
    ) -> None:
        self._seed = seed
        self._turns = _Turns(weights or {"": 1.0})
        self._parts = [
            [task for task in tasks if not weights or task.environment == name] for name in self._turns.names
        ]
        if not all(self._parts):
            raise ValueError("no training tasks")
        self._epoch = lru_cache(maxsize=2 * len(self._parts))(self._shuffled)

    def _shuffled(self, part: int, epoch: int) -> tuple[int, ...]:
        name = self._turns.names[part]
        label = f"task order {name}" if name else "task order"
        generator = np.random.default_rng(derive_seed(self._seed, label, epoch))
        return tuple(int(i) for i in generator.permutation(len(self._parts[part])))

    def __getitem__(self, position: int) -> TaskReference:
        """The task of the `position`-th training group; its seed is derived from the position."""
        part, turn = self._turns[position]
        tasks = self._parts[part]
        epoch, index = divmod(turn, len(tasks))
        task = tasks[self._epoch(part, epoch)[index]]
        seed = derive_seed(self._seed, "task seed", position) % (1 << 31)
        return task.model_copy(update={"seed": seed})


class _Turns:
    """Whose turn it is at each position, and how many turns it had before: as even as the weights allow."""

    def __init__(self, weights: Mapping[str, float]) -> None:
        self.names = tuple(sorted(weights))
        total = sum(weights.values())
        self._shares = [weights[name] / total for name in self.names]
        self._counts = [0] * len(self.names)
        self._made: list[tuple[int, int]] = []

    def __getitem__(self, position: int) -> tuple[int, int]:
        if len(self.names) == 1:
            return 0, position
        while len(self._made) <= position:
            # Whoever lags most behind its share; of equals the first by name.
            done = len(self._made) + 1
            lags = [share * done - count for share, count in zip(self._shares, self._counts, strict=True)]
            part = max(range(len(lags)), key=lags.__getitem__)
            self._made.append((part, self._counts[part]))
            self._counts[part] += 1
        return self._made[position]
