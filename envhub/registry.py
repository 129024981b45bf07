"""Environments by name, imported when asked for: what backs one need not be installed for the others.

    textcraft                           one of Pronghorn's own
    python:package.module:Class         any class that keeps the protocol of `envhub.environment`

A name before a colon is a scheme; the rest is for the scheme's own reader (`_SCHEMES`).
"""

import difflib
import importlib
from collections.abc import Callable
from functools import cache

from common.errors import ConfigurationError, PreflightError
from envhub.environment import Environment
from envhub.sendable import one_line

_ENVIRONMENTS = {
    "alfworld": "envhub.envs.alfworld.environment:AlfWorld",
    "alfworld_textworld": "envhub.envs.alfworld.environment:AlfWorldTextWorld",
    "babyai": "envhub.envs.babyai.environment:BabyAI",
    "guess_number": "envhub.envs.guess_number:GuessNumber",
    "maze": "envhub.envs.maze.environment:Maze",
    "sciworld": "envhub.envs.sciworld.environment:SciWorld",
    "textcraft": "envhub.envs.textcraft.environment:TextCraft",
    "textcraft_generated": "envhub.envs.textcraft.generated:GeneratedTextCraft",
    "textcraft_workshop": "envhub.envs.textcraft.workshop:WorkshopTextCraft",
    "wordle": "envhub.envs.wordle.environment:Wordle",
}
_SCHEMES = {
    "python": "envhub.adapters.python_class:python_environment",
    "agentgym": "envhub.agentgym.backend:AgentGymBackend",
    "gymnasium": "envhub.adapters.gymnasium_adapter:GymnasiumAdapter",
    "maze_grid": "envhub.envs.maze.imported:MazeGrids",
    "openenv": "envhub.adapters.openenv_adapter:OpenEnvAdapter",
    "textcraft_commands": "envhub.envs.textcraft.lists:ListedTextCraft",
    "textcraft_recipes": "envhub.envs.textcraft.environment:TextCraft",
    "verifiers": "envhub.adapters.verifiers_adapter:VerifiersAdapter",
    "wordle_words": "envhub.envs.wordle.environment:Wordle",
}
"""Scheme -> what makes an environment from the text behind the colon."""


def names() -> tuple[str, ...]:
    """The name of every environment of Pronghorn, sorted, available here or not."""
    return tuple(sorted(_ENVIRONMENTS))


def check_name(name: str) -> None:
    """ConfigurationError, with the nearest names, when nothing can be meant by it."""
    scheme, colon, rest = name.partition(":")
    if colon and rest and scheme in _SCHEMES:
        return
    if name not in _ENVIRONMENTS:
        near = difflib.get_close_matches(name, names(), n=1, cutoff=0.0)
        raise ConfigurationError(
            f"environment = {name[:80]!r}: unknown; did you mean {near[0]!r}? "
            f"There are {', '.join(names())}; of other packages: "
            + ", ".join(f"{scheme}:..." for scheme in _SCHEMES)
        )


def environment(name: str) -> Environment:
    """The environment of that name, made once per process.

    ConfigurationError with the nearest name when there is none; PreflightError when what backs it is missing,
    or breaks while it is made.
    """
    check_name(name)
    return _make(name)


@cache
def _make(name: str) -> Environment:
    scheme, _, rest = name.partition(":")
    if scheme not in _SCHEMES:
        return _found(_ENVIRONMENTS[name])()
    make = _found(_SCHEMES[scheme])
    try:
        return make(rest)
    except (ConfigurationError, PreflightError):
        raise
    except Exception as error:  # code of other packages may raise anything; it is told in one line
        why = f"{type(error).__name__}: {error}"
        raise PreflightError(one_line(f"environment {name[:200]}: cannot be made: {why}")) from error


def _found(place: str) -> Callable[..., Environment]:
    """One of our own classes, by its place; PreflightError when it cannot be imported."""
    module, _, attribute = place.partition(":")
    try:
        found: Callable[..., Environment] = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise PreflightError(one_line(f"environment {place}: cannot be imported: {error}")) from error
    return found
