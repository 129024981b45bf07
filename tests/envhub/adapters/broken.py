"""Environments of other packages that cannot be made, or break when they begin."""

from typing import Any

import gymnasium

from docs.sort_letters import SortLetters
from envhub.environment import Environment


class Unfinished(Environment):
    """Defines nothing."""


class Sized(SortLetters):
    """Cannot be made without a size."""

    def __init__(self, size: int, *, colour: str, depth: int = 3) -> None:
        super().__init__()


class Breaking(SortLetters):
    """Raises what is nobody's business, in several lines."""

    def __init__(self) -> None:
        raise KeyError("first line\nsecond line")


class Nameless:
    """Has every method and nothing else."""

    tasks = task = indexed = reset = instructions = vocabulary = lambda self, *_: ()


class FailingReset(gymnasium.Env[str, str]):
    """Is closed as often as it is made."""

    num_open = 0
    action_space = gymnasium.spaces.Text(10)
    observation_space = gymnasium.spaces.Text(10)

    def __init__(self) -> None:
        FailingReset.num_open += 1

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        raise RuntimeError("no reset today")

    def close(self) -> None:
        FailingReset.num_open -= 1


class FailingGym(FailingReset):
    """Cannot even be made."""

    def __init__(self) -> None:
        raise LookupError("no world\nfound")
