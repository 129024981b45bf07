"""The real engine: TextWorld's PDDL games with ALFWorld's names, some 20 steps a second."""

import importlib
import importlib.util
import os
import tempfile
from typing import Any

from common.errors import PreflightError
from envhub.envs.alfworld import package
from envhub.envs.alfworld.commands import Command, command
from envhub.envs.alfworld.engine import NOTHING
from envhub.envs.alfworld.state import State
from envhub.envs.alfworld.world import World

_NEEDED = ("textworld", "fast_downward", "jericho")
_BANNER = "\n\n"


def check() -> None:
    """PreflightError, with the command that helps, when TextWorld is missing; imports nothing."""
    package.check()
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise PreflightError(
            f"{', '.join(missing)}: not installed; run: pip install alfworld=={package.VERSION} (a C compiler is needed)"
        )


class TextWorldGame:
    """One play. `data` is a `game.tw-pddl` as JSON; `world` names what its facts speak of."""

    def __init__(self, data: dict[str, Any], world: World, put: str) -> None:
        """`put` is the grammar's own template for putting something down."""
        self._world = world
        self._put = put
        self._env = _environment()
        self._env.load(data)
        self._state = self._env.reset()
        self.opening = self._state.feedback.partition(_BANNER)[2]

    @property
    def is_won(self) -> bool:
        """By the engine's own goal."""
        return bool(self._state["won"])

    @property
    def state(self) -> State:
        """The engine's facts as a state."""
        facts = ((fact.name, *(argument.name for argument in fact.arguments)) for fact in self._state["_facts"])
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
        """Unload the planner's library, of which every game has a copy."""
        fast_downward = importlib.import_module("fast_downward")
        fast_downward.close_lib(self._env.unwrapped.downward_lib)


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
