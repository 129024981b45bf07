"""`python:package.module:Class`: an environment by its class, made without arguments."""

import inspect
from collections.abc import Iterable
from typing import cast

from envhub.adapters.target import Target
from envhub.environment import Environment

_MEMBERS = tuple(name for name in dir(Environment) if not name.startswith("_"))
_METHODS = tuple(name for name in _MEMBERS if inspect.isfunction(getattr(Environment, name)))


def python_environment(place: str) -> Environment:
    """The environment; ConfigurationError with what is missing when the class is none or needs more."""
    target = Target("python", place)
    module, _, attribute = target.what.partition(":")
    if target.arguments:
        raise target.mistake("an environment of Python is made without arguments")
    found = getattr(target.module(module), attribute, None)
    if not inspect.isclass(found):
        raise target.mistake(f"{module} has no class {attribute[:80]!r}; write python:package.module:Class")
    _check(target, found, sorted(getattr(found, "__abstractmethods__", ())) or _lacking(found, _METHODS))
    if needed := _needed(found):
        raise target.mistake(f"{attribute} must be made without arguments; it needs {', '.join(needed)}")
    made = cast(Environment, found())
    _check(target, found, [name for name in _lacking(found, _MEMBERS) if not hasattr(made, name)])
    return made


def _check(target: Target, found: type, lacking: list[str]) -> None:
    if lacking:
        raise target.mistake(f"{found.__name__} is no Environment: it does not define {', '.join(lacking)}")


def _lacking(found: type, names: Iterable[str]) -> list[str]:
    return [name for name in names if not hasattr(found, name)]


def _needed(found: type) -> list[str]:
    """The parameters of the constructor that have no default."""
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [
        name
        for name, parameter in inspect.signature(found).parameters.items()
        if parameter.default is parameter.empty and parameter.kind not in variable
    ]
