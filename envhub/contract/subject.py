"""What is checked, and how thoroughly: a step costs microseconds here and a tenth of a second there."""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property

from envhub.contract.play import Play, play
from envhub.environment import Environment
from envhub.task import SPLITS, Task, checked_split


class ContractError(AssertionError):
    """A promise is broken; tells which and how."""


@dataclass(frozen=True)
class Subject:
    """An environment under examination. All of its limits count per split."""

    environment: Environment
    address: str = ""
    """Its name in the registry, such as `python:my.module:MyEnvironment`: by it another process makes the
    environment anew. Without an address nothing is compared between processes."""
    num_played: int = 50
    """Tasks that are played to the end."""
    num_again: int = 10
    """Tasks that are played again, and tasks in which hints are followed, in all."""
    num_shown: int = 20
    """Tasks whose first turns are compared between processes."""
    num_compared: int = 2000
    """Tasks that are compared with those of the other splits; 0 compares none."""
    num_sessions: int = 64
    """Episodes of one task that are played in turns."""
    wins: float = 1.0
    """The least share of plays that the expert wins: less than 1 where luck decides some."""
    covered: float = 1.0
    """The least share of words said that the vocabulary has: less than 1 for texts of an open world."""
    has_grammar: bool = True
    """Text that is no action is malformed; False where any text at all is an action."""
    can_recover: bool = True
    """After a few wrong moves the expert still wins."""
    alike: frozenset[str] = frozenset()
    """Kinds drawn by chance from fewer episodes than they have names: splits may share some."""
    answer: Callable[[Play], str] | None = None
    """Where the answer is hidden: the answer, read off a play that found it."""

    @cached_property
    def plays(self) -> tuple[Play, ...]:
        """The first tasks of every split, played once with seed 0."""
        return tuple(play(self.environment, task.name, 0) for task in self.first(self.num_played))

    def first(self, count: int) -> list[Task]:
        """The first tasks of every split."""
        return [task for split in SPLITS for task in self.environment.tasks(checked_split(split))[:count]]

    def names(self, split: str) -> list[str]:
        """All names of a split, in order."""
        return [task.name for task in self.environment.tasks(checked_split(split))]

    def require(self, is_kept: bool, how: str) -> None:
        """ContractError, with the environment's name, unless the promise is kept."""
        if not is_kept:
            raise ContractError(f"environment {self.environment.name}: {how}")


def digest(lines: Iterable[str]) -> str:
    """The sha256 of lines, one a line: what is frozen is remembered as this."""
    return hashlib.sha256("\n".join(lines).encode("utf-8", "backslashreplace")).hexdigest()
