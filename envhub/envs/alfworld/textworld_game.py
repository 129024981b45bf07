"""The real engine: TextWorld's PDDL games with ALFWorld's names, some 20 steps a second."""

import importlib
import importlib.util
import os
import sys
import tempfile
from typing import Any

from common.errors import PreflightError
from envhub.envs.alfworld import package
from envhub.envs.alfworld.commands import Command, command
from envhub.envs.alfworld.game import Game, GameFile
from envhub.envs.alfworld.state import State
from envhub.packages import needs

VERSION = "1.7.0"
"""Of TextWorld."""
_INSTALL = f"pip install alfworld=={package.VERSION} textworld=={VERSION}"
_NEEDED = ("fast_downward", "jericho")
_BANNER_END = "\n\n"
_FREE: list[Any] = []
"""Engines that no game uses. Each holds a copy of the planner's library, which cannot be unloaded."""


def check() -> None:
    """PreflightError, with the command that helps, when TextWorld is missing or another; imports nothing."""
    package.check()
    needs("textworld", VERSION, install=_INSTALL)
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise PreflightError(f"{', '.join(missing)} not installed; run: {_INSTALL} (compiles C++)")


class TextWorldGame(Game):
    """One play of any game, whatever its rules and texts are."""

    def __init__(self, file: GameFile) -> None:
        self._world = file.world
        self._put = file.wording.put
        self._env = _FREE.pop() if _FREE else _environment()
        # The translator of PDDL writes arguments of its own over the program's.
        arguments = sys.argv
        try:
            self._env.load(file.tw_pddl())
            self._state = self._env.reset()
        finally:
            sys.argv = arguments
        self._opening = str(self._state.feedback).partition(_BANNER_END)[2]

    @property
    def opening(self) -> str:
        """What the engine says first, without its banner."""
        return self._opening

    @property
    def is_won(self) -> bool:
        """By the engine's own goal."""
        return bool(self._state["won"])

    @property
    def state(self) -> State:
        """The engine's facts as a state."""
        facts = (
            (fact.name, *(argument.name for argument in fact.arguments)) for fact in self._state["_facts"]
        )
        return State(self._world, facts)

    def step(self, action: Command) -> str:
        """What the engine says."""
        text = action.text
        if action.verb == "move":
            text = self._put.format(o=action.names[0], r=action.names[1])
        self._state, _, _ = self._env.step(text)
        return str(self._state.feedback)

    def commands(self) -> tuple[str, ...]:
        """The engine's own admissible commands, in this environment's form, sorted."""
        read = (command(text) for text in self._state["admissible_commands"])
        return tuple(sorted(one.text for one in read if one))

    def close(self) -> None:
        """Leave the engine to the next game."""
        _FREE.append(self._env)


def _environment() -> Any:
    # Importing the package sets this variable to a folder that it makes, unless the user chose one.
    chosen = os.environ.setdefault("ALFWORLD_DATA", tempfile.gettempdir())
    textworld = importlib.import_module("textworld")
    games = importlib.import_module("textworld.envs.pddl.pddl")
    alfworld = importlib.import_module("alfworld.agents.environment.alfred_tw_env")
    if chosen == tempfile.gettempdir():
        del os.environ["ALFWORLD_DATA"]
    wanted = textworld.EnvInfos(admissible_commands=True, won=True)
    return alfworld.AlfredDemangler(games.PddlEnv(wanted))
