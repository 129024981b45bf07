"""A game as it lies on disk or comes from the generator, and what an engine makes of it."""

import re
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, Protocol

from envhub.envs.alfworld import package
from envhub.envs.alfworld.commands import Command
from envhub.envs.alfworld.goal import atoms
from envhub.envs.alfworld.problem import Problem, read, write
from envhub.envs.alfworld.state import State
from envhub.envs.alfworld.wording import Wording, standard, telling, wording
from envhub.envs.alfworld.world import World, world_of

NOTHING = "Nothing happens."
"""Answers what is not possible."""
_UNTRACKED = {"ison", "checked", "holdsany"}
"""What actions change and no goal of the six kinds asks for."""
_COMMENT = re.compile(r";[^\n]*")


@dataclass(frozen=True)
class GameFile:
    """A game that can be begun any number of times."""

    problem: Problem
    wording: Wording
    world: World
    original: dict[str, Any] | None = None
    """The JSON of a `game.tw-pddl`, where it comes from one."""

    @property
    def rules_differ(self) -> bool:
        """Whether rules, texts or the goal are others than those that the native engine knows."""
        if self.original is None:
            return False
        is_other_domain = _bare(str(self.original["pddl_domain"])) != _bare(package.domain())
        asks = {atom[0] for atom in atoms(self.problem.goal)}
        return is_other_domain or self.wording.rest != standard().rest or bool(asks & _UNTRACKED)

    def tw_pddl(self) -> dict[str, Any]:
        """What TextWorld loads: the content of a `game.tw-pddl`."""
        if self.original is not None:
            return self.original
        return {
            "pddl_domain": package.domain(),
            "grammar": package.grammar().replace(standard().task, self.wording.task),
            "pddl_problem": write(self.problem),
            "solvable": True,
        }


def described(problem: Problem, sentence: str) -> GameFile:
    """A game with the package's rules; ValueError when the problem is not of this domain."""
    return GameFile(problem, telling(sentence), world_of(problem))


def loaded(data: dict[str, Any]) -> GameFile:
    """The game of a `game.tw-pddl`; ValueError when something of it is missing or not of this domain."""
    missing = {"pddl_domain", "grammar", "pddl_problem"} - set(data)
    if missing:
        raise ValueError(f"the game lacks {', '.join(sorted(missing))}")
    problem = read(str(data["pddl_problem"]))
    return GameFile(problem, wording(str(data["grammar"])), world_of(problem), data)


class Game(Protocol):
    """One play: a command in, a sentence out."""

    @property
    @abstractmethod
    def opening(self) -> str:
        """The first observation, without a banner."""
        ...

    @property
    @abstractmethod
    def is_won(self) -> bool:
        """Whether the goal holds now."""
        ...

    @property
    @abstractmethod
    def state(self) -> State:
        """Everything that can change, as it is now; to be read only."""
        ...

    @abstractmethod
    def step(self, command: Command) -> str:
        """What happens; `NOTHING` for what is not possible."""
        ...

    @abstractmethod
    def commands(self) -> tuple[str, ...]:
        """Every command that is possible now, sorted."""
        ...

    @abstractmethod
    def close(self) -> None:
        """Give back what it holds beyond memory; called once."""
        ...


def _bare(text: str) -> str:
    return " ".join(_COMMENT.sub("", text).lower().split())
