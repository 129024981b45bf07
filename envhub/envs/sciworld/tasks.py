"""The tasks by name and by index, from a frozen table: no JVM is needed to know them.

`tasks.json` was written by `freeze.py` from the running simulator; a test compares the two.
"""

import json
import re
from dataclasses import dataclass
from functools import cache
from itertools import zip_longest
from pathlib import Path
from typing import Final

from envhub.task import Split, Task, rank

TABLE: Final = Path(__file__).with_name("tasks.json")
EXCLUDED: Final = frozenset({"5-1", "5-2", "9-1", "9-2", "9-3", "10-1", "10-2"})
"""Kinds that AgentGym leaves out, so that indices skip them and no split lists them; names reach them."""

_NAME = re.compile(r"([a-z0-9-]+)-var(0|[1-9][0-9]{0,4})")
_INDEX = re.compile(r"sciworld_([0-9]{1,6})", re.ASCII)


@dataclass(frozen=True)
class Kind:
    """One task of the simulator, which has many variations; train, development and test in this order."""

    number: str
    name: str
    num_variations: int
    num_train: int
    first_test: int
    end_test: int
    """One past the last test variation; the few behind it are in no set of the simulator's."""

    @property
    def is_listed(self) -> bool:
        """Whether its tasks have indices and stand in splits."""
        return self.number not in EXCLUDED

    def split(self, variation: int) -> Split:
        """The simulator's own set; what is in its development set or in none is held out too, not listed."""
        return "train" if variation < self.num_train else "test"

    def task(self, variation: int) -> Task:
        """A variation as a task."""
        return Task(name=f"{self.name}-var{variation}", split=self.split(variation), kind=self.name)


@cache
def kinds() -> dict[str, Kind]:
    """All thirty by name, in the simulator's order."""
    rows = json.loads(TABLE.read_text())["kinds"]
    return {row["name"]: Kind(**row) for row in rows}


@cache
def listed(split: Split) -> tuple[Task, ...]:
    """The tasks of a split in a frozen order by hash; every prefix has as many of each kind as it can."""
    columns = []
    for kind in kinds().values():
        if kind.is_listed and split != "unseen":
            chosen = range(kind.num_train) if split == "train" else range(kind.first_test, kind.end_test)
            columns.append(sorted((kind.task(variation) for variation in chosen), key=_order))
    rounds = zip_longest(*columns)
    return tuple(task for row in rounds for task in sorted(filter(None, row), key=_order))


def find(name: str) -> tuple[Kind, int] | None:
    """Kind and variation of `boil-var7` or of AgentGym's `sciworld_7`; None when there is no such task."""
    if match := _INDEX.fullmatch(name):
        return at(int(match[1]))
    match = _NAME.fullmatch(name)
    kind = kinds().get(match[1]) if match else None
    if match is None or kind is None or int(match[2]) >= kind.num_variations:
        return None
    return kind, int(match[2])


def at(index: int) -> tuple[Kind, int] | None:
    """Kind and variation of AgentGym's `data_idx`; None when it is out of range."""
    if index < 0:
        return None
    for kind in kinds().values():
        if kind.is_listed:
            if index < kind.num_variations:
                return kind, index
            index -= kind.num_variations
    return None


@cache
def num_indices() -> int:
    """How many tasks have an index."""
    return sum(kind.num_variations for kind in kinds().values() if kind.is_listed)


def _order(task: Task) -> str:
    return rank("sciworld", task.name)
