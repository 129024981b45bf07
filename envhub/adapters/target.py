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
from typing import Any
from urllib.parse import parse_qsl

from common.errors import ConfigurationError, PreflightError


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

    def mistake(self, what: str) -> ConfigurationError:
        """The error for something that a person wrote."""
        return ConfigurationError(f"environment = {self.name[:200]!r}: {what}")

    def module(self, name: str, package: str = "") -> ModuleType:
        """That module; PreflightError with the command that installs `package` if it is missing.

        Without `package` the command names the module's first part.
        """
        try:
            return importlib.import_module(name)
        except ImportError as error:
            wanted = package or name.partition(".")[0].replace("_", "-")
            raise PreflightError(
                f"environment {self.name}: {name} cannot be imported ({error}): pip install {wanted!r}"
            ) from error


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
