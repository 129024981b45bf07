"""Moves prepared in advance, so that a benchmark of the hub does not measure the expert."""

import time
from dataclasses import dataclass
from itertools import cycle, islice

from common.errors import ConfigurationError
from common.trajectory import TaskReference
from envhub import registry
from envhub.environment import Environment
from envhub.session import Session

LONGEST = 100
"""Moves of a script, at most."""
ENOUGH = 48
"""A script of so many moves is long; tasks are tried until enough scripts are."""
NUM_TRIED, TRIES, SEARCH_S = 40, 4, 30.0
"""Tasks in all; endings that are worked around in each; with scripts enough, no task is tried later."""


@dataclass(frozen=True)
class Script:
    """A task and moves that do not end its episode."""

    task: TaskReference
    actions: tuple[str, ...]


def scripts(name: str, count: int) -> tuple[Script, ...]:
    """`count` scripts of an environment, all of one length.

    The expert's moves but the last, again and again, for as long as the episode goes on. PreflightError when
    the environment is not available; ConfigurationError when its episodes are all over at once.
    """
    environment = registry.environment(name)
    found: list[Script] = []
    deadline = time.monotonic() + SEARCH_S
    for task in environment.tasks("train")[:NUM_TRIED]:
        found.append(_script(environment, TaskReference(environment=name, task=task.name)))
        num_long = sum(len(script.actions) >= ENOUGH for script in found)
        if num_long >= count or (len(found) >= count and time.monotonic() >= deadline):
            break
    longest = sorted(found, key=lambda script: len(script.actions), reverse=True)[:count]
    length = min(len(script.actions) for script in longest)
    if length == 0:
        raise ConfigurationError(f"environment {name}: too few of its episodes are longer than one move")
    return tuple(Script(script.task, script.actions[:length]) for script in longest)


def _script(environment: Environment, task: TaskReference) -> Script:
    """The longest of a few tries: what ended the episode is left out of the next."""
    moves = _expert_moves(environment, task)[:-1]
    best: tuple[str, ...] = ()
    for _ in range(TRIES):
        if not moves or len(best) >= ENOUGH:
            break
        played, last = _unfinished(environment, task, moves)
        best = max(best, played, key=len)
        moves = [move for move in moves if move != last]
    return Script(task, best)


def _expert_moves(environment: Environment, task: TaskReference) -> list[str]:
    """All that the expert does from the beginning."""
    session = Session(environment, task, "plain")
    moves: list[str] = []
    is_over = False
    while not is_over and len(moves) < environment.horizon:
        moves.append(session.expert().action)
        is_over = session.step(len(moves) - 1, moves[-1]).is_over
    session.close()
    return moves


def _unfinished(
    environment: Environment, task: TaskReference, moves: list[str]
) -> tuple[tuple[str, ...], str]:
    """As many moves, over and over, as the episode survives; and the move that ended it."""
    session = Session(environment, task, "plain")
    played: list[str] = []
    last = ""
    for action in islice(cycle(moves), LONGEST):
        if session.step(len(played), action).is_over:
            last = action
            break
        played.append(action)
    session.close()
    return tuple(played), last
