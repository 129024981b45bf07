"""Which episodes exist: levels and seeds by name, AgentGym's index map, and the default splits.

BabyAI-GoToObj-v0-seed17    a level of the package and the seed of its generator
babyai_123                  AgentGym's data_idx: level 123 % 40 of its forty, seed 123 // 40
"""

import re
from functools import cache
from importlib.resources import files
from typing import Final

from envhub.task import Split, Task, rank

NUM_AGENTGYM_LEVELS: Final = 40
MAX_SEEDS: Final = 100_000
"""Seeds 0 to this, exclusive, have names."""
TRAIN_SEEDS: Final = range(100, 150)
TEST_SEEDS: Final = range(5)
"""Seeds 0 to 22 are AgentGym's own 900 ids, its evaluation among them: none of these is ever trained on."""

_REPLACED: Final = {"BabyAI-GoToObjS6-v0": "BabyAI-GoToObjS6-v1"}
_NAME = re.compile(r"(BabyAI-[A-Za-z0-9]{1,40}-v[0-9])-seed(0|[1-9][0-9]{0,5})", re.ASCII)
_INDEX_NAME = re.compile(r"babyai_(0|[1-9][0-9]{0,7})", re.ASCII)


def task_name(level: str, seed: int) -> str:
    """The canonical name."""
    return f"{level}-seed{seed}"


def kind(level: str) -> str:
    """The level's type: its name without what all levels share."""
    return level.removeprefix("BabyAI-").rpartition("-")[0]


def indexed(index: int) -> tuple[str, int] | None:
    """Level and seed of AgentGym's `data_idx`; None outside `num_indexed`."""
    if not 0 <= index < num_indexed():
        return None
    seed, place = divmod(index, NUM_AGENTGYM_LEVELS)
    return known()[place], seed


def num_indexed() -> int:
    """How many indices there are."""
    return MAX_SEEDS * NUM_AGENTGYM_LEVELS


def read(name: str) -> tuple[str, int] | None:
    """Level and seed of a task's name in any of its forms; None when there is no such task."""
    if match := _INDEX_NAME.fullmatch(name):
        return indexed(int(match[1]))
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    level, seed = _REPLACED.get(match[1], match[1]), int(match[2])
    return (level, seed) if level in known() and seed < MAX_SEEDS else None


def task(level: str, seed: int) -> Task:
    """The task; seeds that no split lists count as training tasks unless they are AgentGym's own."""
    split: Split = "train" if seed >= TRAIN_SEEDS.start else "test"
    return Task(name=task_name(level, seed), split=split, kind=kind(level))


@cache
def listed(split: Split) -> tuple[Task, ...]:
    """The tasks of a split ordered by hash, without those of `excluded`."""
    found = (one for level, seed in candidates(split) if (one := task(level, seed)).name not in excluded())
    return tuple(sorted(found, key=lambda one: rank("babyai", one.name)))


def candidates(split: Split) -> tuple[tuple[str, int], ...]:
    """Level and seed of everything that a split would list if nothing were excluded."""
    seeds = {"train": TRAIN_SEEDS, "test": TEST_SEEDS}.get(split, range(0))
    return tuple((level, seed) for level in agentgym() for seed in seeds)


@cache
def known() -> tuple[str, ...]:
    """Every BabyAI level of the package, AgentGym's first."""
    return _lines("levels.txt")


def agentgym() -> tuple[str, ...]:
    """AgentGym's levels in its order."""
    return known()[:NUM_AGENTGYM_LEVELS]


@cache
def excluded() -> frozenset[str]:
    """Names that the splits leave out, unwinnable or known from training; see `exclusions`."""
    return frozenset(_lines("excluded.txt"))


def _lines(name: str) -> tuple[str, ...]:
    text = files("envhub.envs.babyai").joinpath(name).read_text(encoding="utf-8")
    return tuple(line for line in text.splitlines() if line and not line.startswith("#"))
