"""Plays that the checks look at: made once, looked at by many."""

from dataclasses import dataclass
from random import Random
from typing import Any

from envhub.environment import Environment, Episode, ExpertMove, StepResult

MAX_HINTS = 200
"""So many hints of a turn are kept."""


@dataclass(frozen=True)
class Turn:
    """What was hinted at, what was played, and what came of it."""

    hints: tuple[str, ...]
    move: ExpertMove
    result: StepResult
    detail: dict[str, Any]
    """Before the move."""


@dataclass(frozen=True)
class Play:
    """One episode from its opening to its end or to the environment's horizon, and two steps more."""

    task: str
    opening: str
    turns: tuple[Turn, ...]
    after: tuple[StepResult, ...]
    """Answers to two more actions."""
    views: tuple[str, ...]
    """How it was rendered for people, at the opening and at the end."""
    pictures: tuple[bytes, ...]

    @property
    def is_won(self) -> bool:
        """The last turn is a success by the environment's own predicate."""
        last = self.results[-1]
        return last.is_success and last.is_terminated and not last.is_truncated

    @property
    def actions(self) -> list[str]:
        """What was played."""
        return [turn.move.action for turn in self.turns]

    @property
    def results(self) -> list[StepResult]:
        """What came of it."""
        return [turn.result for turn in self.turns]


def play(environment: Environment, task: str, seed: int) -> Play:
    """Let the expert play; where there is none, the hints are followed at random."""
    episode = environment.reset(task, seed)
    opening, view, picture = episode.observation, episode.render(), episode.picture()
    random = Random(f"contract:{task}:{seed}")
    turns: list[Turn] = []
    while len(turns) < environment.horizon and not (turns and turns[-1].result.is_over):
        hints, detail = episode.actions()[:MAX_HINTS], episode.detail()
        move = episode.expert() if environment.has_expert else ExpertMove(action=wandering(episode, random))
        turns.append(Turn(hints, move, episode.step(move.action), detail))
    after = (
        tuple(episode.step(text) for text in ("anything", turns[-1].move.action))
        if turns[-1].result.is_over
        else ()
    )
    made = Play(task, opening, tuple(turns), after, (view, episode.render()), (picture, episode.picture()))
    episode.close()
    return made


def wandering(episode: Episode, random: Random) -> str:
    """Any hinted action; without hints a text that most environments refuse."""
    hints = episode.actions()
    return random.choice(hints) if hints else "look"
