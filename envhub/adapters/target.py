"""What stands behind a scheme's colon: which foreign environment, made with which arguments.

FrozenLake-v1                                   an id
FrozenLake-v1?is_slippery=false&map_name=8x8    with arguments, each a JSON value or else a text
package.module:Name                             something that a module has or registers
"""

import importlib
import json
from dataclasses import dataclass
from functools import cached_property
from types import ModuleType
from typing import Any, TypeVar
from urllib.parse import parse_qsl

from common.errors import ConfigurationError, PreflightError
from envhub.sendable import one_line

MAX_NUMBER = 10**9
N = TypeVar("N", int, float)


@dataclass(frozen=True)
class Target:
    """A scheme and the text after its colon, read."""

    scheme: str
    text: str

    @property
    def name(self) -> str:
        """The registry's name for it."""
        return f"{self.scheme}:{self.text}"

    @property
    def what(self) -> str:
        """The text before the arguments."""
        return self.text.partition("?")[0]

    @cached_property
    def arguments(self) -> dict[str, Any]:
        """The arguments, in order; ConfigurationError when they are not `key=value&key=value`."""
        query = self.text.partition("?")[2]
        try:
            pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=True) if query else []
        except ValueError as error:
            raise self.mistake(
                f"its arguments cannot be read ({error}); write NAME?key=value&key=value"
            ) from None
        return {key: _value(text) for key, text in pairs}

    def number(self, key: str, default: N) -> N:
        """The argument of that name: where the default is whole a whole number above 0, else any number.

        ConfigurationError when it is something else.
        """
        value = self.arguments.get(key, default)
        is_whole = isinstance(value, int) and not isinstance(value, bool)
        if isinstance(default, int):
            if not is_whole or not 1 <= value <= MAX_NUMBER:
                raise self.mistake(f"{key} = {str(value)[:40]!r}: must be a whole number above 0")
        elif not (is_whole or isinstance(value, float)) or not -MAX_NUMBER <= value <= MAX_NUMBER:
            raise self.mistake(f"{key} = {str(value)[:40]!r}: must be a number")
        return type(default)(value)

    def mistake(self, what: str) -> ConfigurationError:
        """The error for something that a person wrote."""
        return ConfigurationError(f"environment = {self.name[:200]!r}: {one_line(what)}")

    def unavailable(self, why: str) -> PreflightError:
        """The error for what cannot be had on this machine."""
        return PreflightError(one_line(f"environment {self.name[:200]}: {why}"))

    def module(self, name: str, package: str = "") -> ModuleType:
        """That module; PreflightError with the command that installs `package` if it is missing.

        Without `package` the command names the module's first part. ConfigurationError for what is no name of
        a module.
        """
        if not all(part.isidentifier() for part in name.split(".")):
            raise self.mistake(f"{name[:80]!r} is no module; write {self.scheme}:package.module:Name")
        try:
            return importlib.import_module(name)
        except ImportError as error:
            wanted = package or name.partition(".")[0].replace("_", "-")
            raise self.unavailable(f"{name} cannot be imported ({error}): pip install {wanted!r}") from error


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
