"""Configuration: frozen sections, TOML files from left to right, then `--section.field=value`.

Every component receives its own section and nothing else. Derived values are properties. A mistake is
one line: the field, the value, what is allowed.
"""

import reprlib
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from common.errors import ConfigurationError


class Section(BaseModel):
    """A frozen group of settings; unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


ConfigT = TypeVar("ConfigT", bound=BaseModel)

_MAX_LISTED = 1000
"""Mistakes beyond which none is looked at: each would be built to tell the first."""
_SHOWN = reprlib.Repr()
"""A value as it stands in a line: of a large one the beginning and the end."""
_SHOWN.maxstring = _SHOWN.maxother = 200
_SHOWN.maxlist = _SHOWN.maxtuple = 20


def load(kind: type[ConfigT], files: Sequence[Path], overrides: Sequence[str] = ()) -> ConfigT:
    """Read `files` left to right, apply `overrides`, validate; the later value wins, key by key.

    Raises ConfigurationError with one line for a missing or broken file, an unknown key, a wrong type
    or an impossible combination.
    """
    merged: dict[str, Any] = {}
    for file in files:
        _merge(merged, _read(file))
    for text in overrides:
        _merge(merged, _parse_override(text))
    return validate(kind, merged)


def validate(kind: type[ConfigT], values: dict[str, Any]) -> ConfigT:
    """Build a `kind` from plain values; ConfigurationError with one line when they are wrong."""
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise ConfigurationError(_one_line(error)) from None


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text())
    except FileNotFoundError:
        raise ConfigurationError(f"{file}: no such configuration file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise ConfigurationError(f"{file}: {error}") from None


def _merge(into: dict[str, Any], new: dict[str, Any]) -> None:
    for key, value in new.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = value


def _parse_override(text: str) -> dict[str, Any]:
    """`--learner.learning_rate=1e-5` as nested tables; the value is TOML, or a bare string when it is not."""
    key, equals, raw = text.removeprefix("--").partition("=")
    if not equals or not key or not text.startswith("--"):
        raise ConfigurationError(f"{text!r}: an override has the form --section.field=value")
    try:
        value: Any = tomllib.loads(f"value = {raw}")["value"]
    except ValueError:
        # No TOML, or a number with more digits than Python reads.
        value = raw
    for part in reversed(key.split(".")):
        value = {part.replace("-", "_"): value}
    return dict(value)


def _one_line(error: ValidationError) -> str:
    """The first mistake, and how many more there are."""
    if error.error_count() > _MAX_LISTED:
        return f"configuration: {error.error_count()} mistakes"
    first, *others = error.errors(include_url=False)
    where = " ".join(".".join(str(part) for part in first["loc"]).split()) or "configuration"
    message = str(first["msg"]).removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        message = "unknown key"
    given = first.get("input")
    shown = (
        ""
        if isinstance(given, (dict, BaseModel)) or first["type"] == "missing"
        else f" = {_SHOWN.repr(given)}"
    )
    more = f" (and {len(others)} more)" if others else ""
    return f"{where}{shown}: {message}{more}"
