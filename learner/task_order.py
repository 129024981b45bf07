"""The order in which training tasks are played: every task once per epoch, each epoch shuffled anew.

Several environments take turns by their weights, each with epochs of its own.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Protocol

import numpy as np

from common.seeding import derive_seed
from common.trajectory import TaskReference


class TaskSource(Protocol):
    """Which tasks the next training groups play.

    tasks = source.take(ledger.num_groups(), number, version)
    ledger.open_groups(tasks, ..., version=version)
    """

    def take(self, position: int, number: int, version: int) -> list[TaskReference]:
        """The tasks of the next `number` groups after the first `position`, granted at `version`."""
        ...

    def values(self) -> dict[str, float]:
        """What is worth a curve, by metric name; about groups, those taken since it was asked last."""
        ...


class TaskOrder:
    """An endless sequence of tasks; seed and position alone decide, so a resume continues it.

    `weights` are the environments' shares of the groups; without them every task counts alike. Raises
    ValueError when there are no tasks, or none of an environment that has a weight.
    """

    def __init__(
        self, tasks: Sequence[TaskReference], seed: int, weights: Mapping[str, float] | None = None
    ) -> None:
        self._seed = seed
        self._turns = Turns(weights or {})
        self._parts = parts_of(tasks, self._turns.names)
        self._epoch = lru_cache(maxsize=2 * len(self._parts))(self._shuffled)

    def take(self, position: int, number: int, version: int) -> list[TaskReference]:
        """`number` tasks from `position` on, whatever the version."""
        return [self[position + index] for index in range(number)]

    def values(self) -> dict[str, float]:
        """Nothing: every task is played as often as any other."""
        return {}

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
        return seeded(tasks[self._epoch(part, epoch)[index]], self._seed, position)


def seeded(task: TaskReference, seed: int, position: int) -> TaskReference:
    """The task as the group at that position plays it."""
    return task.model_copy(update={"seed": derive_seed(seed, "task seed", position) % (1 << 31)})


def parts_of(tasks: Sequence[TaskReference], names: Sequence[str]) -> list[list[TaskReference]]:
    """The tasks of each environment; of the name "" all of them. ValueError when one has none."""
    parts = [[task for task in tasks if not name or task.environment == name] for name in names]
    if not all(parts):
        raise ValueError("no training tasks")
    return parts


class Turns:
    """Whose turn it is at each position, and how many turns it had before: as even as the weights allow.

    Without weights it is always the turn of "", all environments together.
    """

    def __init__(self, weights: Mapping[str, float]) -> None:
        self.names = tuple(sorted(weights)) or ("",)
        total = sum(weights.values())
        self._shares = [weights[name] / total for name in sorted(weights)]
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
