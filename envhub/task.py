"""What a task is: a frozen, portable name and what is known about it."""

from hashlib import blake2b
from typing import Literal, get_args

from pydantic import Field

from common.errors import ConfigurationError
from common.trajectory import Record

Split = Literal["train", "test", "unseen"]
"""`unseen`: held-out tasks in surroundings that no training task has; empty where there are none."""
SPLITS: tuple[str, ...] = get_args(Split)


class Task(Record):
    """One task of an environment; its name means the same episode on every machine and in every version."""

    name: str = Field(min_length=1, max_length=200)
    split: Split
    depth: int = Field(default=0, ge=0)
    """How many layers of sub-goals it has, where the environment knows; 0 where it does not."""
    kind: str = Field(default="", max_length=100)
    """The type of the task, where the environment has types; few per environment."""


def select(tasks: tuple[Task, ...], depths: tuple[int, ...] = (), limit: int = 0) -> tuple[Task, ...]:
    """The first `limit` tasks of the given depths, in their frozen order; empty and 0 mean all."""
    chosen = tuple(task for task in tasks if not depths or task.depth in depths)
    return chosen[:limit] if limit else chosen


def rank(world: str, name: str) -> str:
    """Where something of a world stands in a frozen order by hash: the same everywhere, a fair mixture."""
    return blake2b(f"{world}:{name}".encode(), digest_size=8).hexdigest()


def checked_split(split: str) -> Split:
    """The split itself; ConfigurationError when it is none of `SPLITS`."""
    match split:
        case "train" | "test" | "unseen":
            return split
    raise ConfigurationError(f"split = {split[:80]!r}: unknown; allowed are {', '.join(SPLITS)}")
