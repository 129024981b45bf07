"""The curriculum: tasks that are sometimes solved are played more often than those that always or never are.

Every task is in one pool, by the share of successes in its last `recent_groups` groups:

    unseen    no group of it is settled yet
    hard      success <= hard_to
    easy      success >= easy_from
    middle    between them

and is played in proportion to the weight of its pool. A group is settled when it was played whole and either
trained on or dropped (all members scored the same: the very groups that show what is easy and what is hard).

The task of a group is a function of the seed, its position, and what the ledger knew of earlier steps when
its version was granted: `settled_until(version)`. What arrives between two steps changes nothing, so neither
the order of arrivals nor a resume does; what a rewind forgets is no longer known.
"""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, get_args

import numpy as np

from common.seeding import derive_seed
from common.trajectory import TaskReference
from learner.config import CurriculumConfig
from learner.ledger import Ledger
from learner.task_order import Turns, parts_of, seeded

Pool = Literal["unseen", "hard", "middle", "easy"]
POOLS: tuple[Pool, ...] = get_args(Pool)
Key = tuple[str, str]
"""Environment and task: what a task is, whatever seed it is played with."""

_SETTLED = """
SELECT g.environment, g.task, AVG(t.is_success) FROM groups g
JOIN trajectories t ON t.group_id = g.id
WHERE g.purpose = 'training' AND g.step > ? AND g.step <= ?
AND (g.state = 'consumed' OR (g.state = 'dropped' AND g.reason IN ('zero_variance', 'stale')))
GROUP BY g.id ORDER BY g.step, g.id
"""
_OPENED = "SELECT id, environment, task FROM groups WHERE purpose = 'training' AND id > ? ORDER BY id"


class Curriculum:
    """A `TaskSource` that reads the ledger it is given; call it on the ledger's thread alone.

    Environments of a mixture take turns as without a curriculum; each has pools of its own.
    """

    def __init__(
        self,
        tasks: Sequence[TaskReference],
        seed: int,
        weights: Mapping[str, float],
        config: CurriculumConfig,
        ledger: Ledger,
    ) -> None:
        self._seed, self._config, self._ledger = seed, config, ledger
        self._turns = Turns(weights)
        self._parts = [
            _Part(part, seed, name, config)
            for name, part in zip(self._turns.names, parts_of(tasks, self._turns.names), strict=True)
        ]
        self._version = -1
        self._last_id = -1
        self._num_opened = 0

    def take(self, position: int, number: int, version: int) -> list[TaskReference]:
        """The tasks of the next `number` training groups, of which `position` were opened before."""
        self._read_settled(version)
        self._read_opened()
        assert self._num_opened == position, f"{self._num_opened} groups in the ledger, cursor {position}"
        return [self._choose(position + index) for index in range(number)]

    def values(self) -> dict[str, float]:
        """The share of the tasks that each pool holds, and of the groups opened since this was asked last."""
        sizes = {pool: sum(len(part.pools[pool]) for part in self._parts) for pool in POOLS}
        drawn = {pool: sum(part.drawn[pool] for part in self._parts) for pool in POOLS}
        for part in self._parts:
            part.drawn = dict.fromkeys(POOLS, 0)
        found = {f"curriculum/{pool}/tasks": size / sum(sizes.values()) for pool, size in sizes.items()}
        if total := sum(drawn.values()):
            found |= {f"curriculum/{pool}/groups": number / total for pool, number in drawn.items()}
        return found

    def _choose(self, position: int) -> TaskReference:
        part, _ = self._turns[position]
        draw = derive_seed(self._seed, "curriculum", position) / 2.0**63
        return seeded(self._parts[part].choose(draw, position), self._seed, position)

    def _read_settled(self, version: int) -> None:
        """Steps up to `version` are over: what was settled by then never changes within one history."""
        if version == self._version:
            return
        for environment, task, success in self._ledger.rows(_SETTLED, (self._version, version)):
            for part in self._parts:
                part.settle((environment, task), float(success))
        self._version = version
        for part in self._parts:
            part.sort()

    def _read_opened(self) -> None:
        for number, environment, task in self._ledger.rows(_OPENED, (self._last_id,)):
            for part in self._parts:
                part.open((environment, task), self._num_opened)
            self._last_id, self._num_opened = number, self._num_opened + 1


class _Part:
    """The tasks of one environment, or all of them, in their pools."""

    def __init__(
        self, tasks: Sequence[TaskReference], seed: int, name: str, config: CurriculumConfig
    ) -> None:
        self._config = config
        self._tasks = {(task.environment, task.task): task for task in tasks}
        generator = np.random.default_rng(derive_seed(seed, "curriculum order", name))
        shuffled = generator.permutation(len(self._tasks))
        # Negative, so that what was never opened comes before what was, in an order of the seed's.
        self._opened: dict[Key, int] = {
            key: int(rank) - len(self._tasks) for key, rank in zip(self._tasks, shuffled, strict=True)
        }
        self._shown: dict[Key, deque[float]] = {}
        self.pools: dict[Pool, list[Key]] = {}
        self.drawn: dict[Pool, int] = dict.fromkeys(POOLS, 0)
        self.sort()

    def settle(self, key: Key, success: float) -> None:
        """One more group of this task is settled with that share of successes."""
        if key in self._tasks:
            self._shown.setdefault(key, deque(maxlen=self._config.recent_groups)).append(success)

    def open(self, key: Key, position: int) -> None:
        """The group at that position plays this task."""
        if key in self._tasks:
            self._opened[key] = position

    def sort(self) -> None:
        """Put every task into its pool."""
        self.pools = {pool: [] for pool in POOLS}
        for key in self._tasks:
            self.pools[pool_of(self._shown.get(key, ()), self._config)].append(key)

    def choose(self, draw: float, position: int) -> TaskReference:
        """A pool by `draw` in [0, 1), and of its tasks the one that was not opened for longest."""
        pool = drawn_pool({pool: len(keys) for pool, keys in self.pools.items()}, self._config, draw)
        key = min(self.pools[pool], key=self._opened.__getitem__)
        self.drawn[pool] += 1
        self.open(key, position)
        return self._tasks[key]


def pool_of(successes: Iterable[float], config: CurriculumConfig) -> Pool:
    """The pool of a task whose last groups succeeded so often each, of which the mean counts."""
    shown = list(successes)
    if not shown:
        return "unseen"
    share = sum(shown) / len(shown)
    if share <= config.hard_to:
        return "hard"
    return "easy" if share >= config.easy_from else "middle"


def drawn_pool(sizes: Mapping[Pool, int], config: CurriculumConfig, draw: float) -> Pool:
    """The pool that `draw` in [0, 1) falls into: P(pool) proportional to its weight times its tasks.

    When every pool with a weight is empty the weights count as equal: somebody has to be played.
    """
    masses = {pool: getattr(config, pool) * size for pool, size in sizes.items()}
    if not any(masses.values()):
        masses = {pool: float(size) for pool, size in sizes.items()}
    left = draw * sum(masses.values())
    for pool, mass in masses.items():
        left -= mass
        if left < 0:
            return pool
    # Rounding alone leads here.
    return max((pool for pool in masses if masses[pool]), key=POOLS.index)
