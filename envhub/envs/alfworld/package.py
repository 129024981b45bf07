"""What is read from the installed package `alfworld`: rules, texts, floor plans; nothing is copied.

The package itself is never imported by this: that would make folders and pull in TextWorld.
"""

import importlib.util
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from common.errors import PreflightError
from envhub.packages import needs

VERSION = "0.4.2"
"""The version whose floor plans the generated games are made of; another would give other games."""
# Its dependencies are for the real engine alone.
_INSTALL = f"pip install --no-deps alfworld=={VERSION}"


def check() -> None:
    """PreflightError, with the command that helps, unless the right version is installed."""
    needs("alfworld", VERSION, install=_INSTALL)


@cache
def folder() -> Path:
    """Where the package lies."""
    check()
    spec = importlib.util.find_spec("alfworld")
    if spec is None or not spec.submodule_search_locations:
        raise PreflightError(f"alfworld: cannot be found; run: {_INSTALL}")
    return Path(spec.submodule_search_locations[0])


@cache
def domain() -> str:
    """The rules, as PDDL."""
    return (folder() / "data" / "alfred.pddl").read_text(encoding="utf-8")


@cache
def grammar() -> str:
    """The texts, as TextWorld's grammar, with a placeholder for the task's sentence."""
    return (folder() / "data" / "alfred.twl2").read_text(encoding="utf-8")


def goal(kind: str) -> tuple[str, list[str]]:
    """The PDDL goal of a kind of task and the sentences that describe it, both to be filled in."""
    entry: dict[str, Any] = _module("goal_library").gdict[kind]
    return entry["pddl"].replace("#", "-"), list(entry["templates"])


def constant(name: str) -> Any:
    """A table of the package, such as what fits into which receptacle."""
    return getattr(_module("constants"), name)


@cache
def _module(name: str) -> ModuleType:
    """One file of plain tables, executed on its own."""
    path = folder() / "gen" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"_alfworld_{name}", path)
    if spec is None or spec.loader is None:
        raise PreflightError(f"alfworld: {path.name} is missing; run: {_INSTALL}")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
