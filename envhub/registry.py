"""Environments by name."""

import difflib
from collections.abc import Callable
from functools import cache

from common.errors import ConfigurationError
from envhub.environment import Environment
from envhub.envs.guess_number import GuessNumber
from envhub.envs.textcraft.environment import TextCraft
from envhub.envs.textcraft.generated import GeneratedTextCraft
from envhub.envs.textcraft.workshop import WorkshopTextCraft

_ENVIRONMENTS: dict[str, Callable[[], Environment]] = {
    kind.name: kind for kind in (TextCraft, GeneratedTextCraft, WorkshopTextCraft, GuessNumber)
}


def names() -> tuple[str, ...]:
    """The name of every environment, sorted."""
    return tuple(sorted(_ENVIRONMENTS))


def environment(name: str) -> Environment:
    """The environment of that name, made once per process.

    ConfigurationError with the nearest name when there is none; PreflightError when what backs it is missing.
    """
    if name not in _ENVIRONMENTS:
        near = difflib.get_close_matches(name, names(), n=1, cutoff=0.0)
        raise ConfigurationError(
            f"environment = {name[:80]!r}: unknown; did you mean {near[0]!r}? There are {', '.join(names())}"
        )
    return _make(name)


@cache
def _make(name: str) -> Environment:
    return _ENVIRONMENTS[name]()
