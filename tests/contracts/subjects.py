"""How thoroughly each environment is examined, by what a step of it costs, and what it need not promise."""

from functools import cache
from typing import Any, Final

from common.errors import PreflightError
from envhub import registry
from envhub.contract import Play, Subject

EFFORTS: Final[dict[str, dict[str, Any]]] = {
    # Its texts name things of the packaged floor plans.
    "alfworld": {"num_played": 60, "num_shown": 10, "num_compared": 500, "covered": 0.999},
    # The real engine: a second to begin, 20 steps a second.
    "alfworld_textworld": {
        "num_played": 1,
        "num_again": 1,
        "num_shown": 1,
        "num_sessions": 4,
        "num_compared": 1,
        "covered": 0.99,
    },
    # Its expert plans every move anew, from what it has seen.
    "babyai": {"num_played": 25, "num_again": 4, "num_shown": 4},
    "guess_number": {"num_played": 100, "num_shown": 50, "answer": lambda play: last_words(play)[-1]},
    "maze": {"num_played": 400, "num_shown": 50},
    # A reset loads a world into a JVM, about a second; its texts are the engine's.
    "sciworld": {
        "num_played": 2,
        "num_again": 1,
        "num_shown": 1,
        "num_sessions": 4,
        "num_compared": 2,
        "covered": 0.99,
        "can_recover": False,
    },
    # So many tasks of each split are played to the end: of the real TextCraft that is all of them.
    "textcraft": {"num_played": 444, "num_shown": 50},
    "textcraft_generated": {"num_played": 444, "num_shown": 50},
    "textcraft_workshop": {"num_played": 444, "num_shown": 50},
    # Six guesses leave no room for a few wrong ones.
    "wordle": {
        "num_played": 150,
        "wins": 0.98,
        # Forty words and luck: games of different numbers are often the same.
        "alike": frozenset({"lmrl"}),
        "can_recover": False,
        "answer": lambda play: "".join(last_words(play)),
    },
}


def last_words(play: Play) -> list[str]:
    """The words of the move that won."""
    return play.actions[-1].split()


@cache
def subject(name: str) -> Subject:
    """The environment of that name; PreflightError when what backs it is missing here."""
    return Subject(registry.environment(name), name, **EFFORTS.get(name, {}))


def missing(name: str) -> str:
    """Why the environment cannot be made here, in the words of its PreflightError; empty when it can."""
    try:
        subject(name)
    except PreflightError as error:
        # A module of our own that cannot be imported is a fault of ours, not of the machine.
        if "cannot be imported" in str(error):
            raise
        return str(error)
    return ""
