"""Files of rows: a JSON array, or JSON lines; every row has a number and a line, so that a bad one is found.

    [{"item_id": "webshop_5238"},          row 0, line 1
     {"item_id": "webshop_5239"}]          row 1, line 2

Which of the two forms a file has is told by its first character.
"""

import json
import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

from pydantic import ValidationError

from common.errors import ConfigurationError

OnError = Literal["refuse", "skip"]
"""What a broken row does: the whole file is refused, or the row alone is left out and counted."""
Layout = Literal["array", "lines"]

RowT = TypeVar("RowT")
_SPACE = re.compile(r"[ \t\n\r]*")
_SHOWN = 80


@dataclass(frozen=True)
class Fault:
    """Why a row was left out."""

    row: int
    """From 0, broken ones included."""
    line: int
    """From 1, where the row begins."""
    reason: str
    ends_file: bool = False
    """Nothing after it could be read: an array that is torn has no next row."""

    def __str__(self) -> str:
        lost = "; nothing after it can be read" if self.ends_file else ""
        return f"line {self.line}: row {self.row}: {self.reason}{lost}"


@dataclass(frozen=True)
class Kept(Generic[RowT]):
    """The rows that are whole, in order, and what was wrong with the others."""

    rows: tuple[RowT, ...]
    faults: tuple[Fault, ...]

    @property
    def counts(self) -> str:
        """`3 rows kept, 1 left out`, for the one line that is printed."""
        return f"{len(self.rows)} rows kept, {len(self.faults)} left out"


def read(path: Path, check: Callable[[Any], RowT], on_error: OnError = "refuse") -> Kept[RowT]:
    """Every row as `check` makes it of the JSON value; a row that it refuses by ValueError is a fault.

    ConfigurationError with file, line, row and reason when the file cannot be read or has no form of rows,
    and, unless `on_error` is `skip`, for the first fault, with the counts.
    """
    rows: list[RowT] = []
    faults: list[Fault] = []
    for number, line, value in scan(path):
        if isinstance(value, Fault):
            faults.append(value)
            continue
        try:
            rows.append(check(value))
        except ValueError as error:
            faults.append(Fault(number, line, reason_of(error)))
    kept = Kept(tuple(rows), tuple(faults))
    if faults and on_error == "refuse":
        more = f"; {len(faults)} of {len(faults) + len(rows)} rows are broken" if len(faults) > 1 else ""
        raise ConfigurationError(f"{path}: {faults[0]}{more}")
    return kept


def scan(path: Path) -> Iterator[tuple[int, int, Any]]:
    """(row, line, JSON value or Fault) in order. ConfigurationError when the file cannot be read."""
    try:
        with path.open(encoding="utf-8-sig", newline="\n") as file:
            opening = _first_character(file.read(1), file.read)
            file.seek(0)
            if opening == "[":
                yield from _array(file.read())
            elif opening == "{":
                yield from _lines(file)
            else:
                found = f"it begins with {opening!r}" if opening else "it is empty"
                raise ConfigurationError(f"{path}: expected a JSON array or JSON lines of rows, {found}")
    except FileNotFoundError:
        raise ConfigurationError(f"{path}: no such file") from None
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path}: not UTF-8 text: {error.reason} at byte {error.start}") from None
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror or error}") from None


def _first_character(text: str, more: Callable[[int], str]) -> str:
    while text and text.isspace():
        text = more(1)
    return text


def _lines(file: Iterable[str]) -> Iterator[tuple[int, int, Any]]:
    row = 0
    for line, text in enumerate(file, 1):
        if text.isspace():
            continue
        yield row, line, _decoded(text, row, line)
        row += 1


def _decoded(text: str, row: int, line: int) -> Any:
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        return Fault(row, line, f"not JSON: {_short(error)}")


def _array(text: str) -> Iterator[tuple[int, int, Any]]:
    """The elements one after the other, so that each has a line and a torn end costs only what follows."""
    decoder = json.JSONDecoder(parse_constant=_refuse_constant)
    position = _skip_space(text, text.index("[") + 1)
    if text[position : position + 1] == "]":
        return
    line, counted, row = 1, 0, 0
    while True:
        line, counted = line + text.count("\n", counted, position), position
        try:
            value, position = decoder.raw_decode(text, position)
        except (ValueError, RecursionError) as error:
            yield row, line, Fault(row, line, f"not JSON: {_short(error)}", ends_file=True)
            return
        yield row, line, value
        position = _skip_space(text, position)
        mark = text[position : position + 1]
        if mark == "]":
            rest = text[position + 1 :].strip()
            if rest:
                line += text.count("\n", counted, position)
                yield row + 1, line, Fault(row + 1, line, f"after the array stands {rest[:_SHOWN]!r}")
            return
        row += 1
        if mark != ",":
            line += text.count("\n", counted, position)
            found = f"found {text[position : position + 20]!r}" if mark else "the file ends"
            yield row, line, Fault(row, line, f"not JSON: expected ',' or ']', {found}", ends_file=True)
            return
        position = _skip_space(text, position + 1)


def _skip_space(text: str, position: int) -> int:
    found = _SPACE.match(text, position)
    assert found is not None
    return found.end()


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")


def _short(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at column {error.colno}"
    return "nested too deeply" if isinstance(error, RecursionError) else str(error)


def reason_of(error: ValueError) -> str:
    """The first mistake of a validation on one line: the field, what is wrong with it, and what it was."""
    if not isinstance(error, ValidationError):
        return " ".join(str(error).split())
    first = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"]) or "row"
    message = str(first["msg"]).removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        message = "unknown key"
    given = first.get("input")
    is_told = bool(first["loc"]) and isinstance(given, str | int | float) and first["type"] != "value_error"
    shown = f" = {str(given)[:_SHOWN]!r}" if is_told else ""
    return " ".join(f"{where}{shown}: {message}".split())


def write(path: Path, rows: Iterable[Any], layout: Layout = "array") -> int:
    """Write JSON values, one per line, so that `path` is absent, as it was, or complete; how many.

    `array` is one JSON array, `lines` is JSON lines. Its folder is made. ConfigurationError when the disk
    or the folder refuses.
    """
    opening, between, closing = ("[\n", ",\n", "\n]\n") if layout == "array" else ("", "\n", "\n")
    number = 0
    unfinished = path.with_name(path.name + ".unfinished")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with unfinished.open("w", encoding="utf-8") as file:
            file.write(opening)
            for row in rows:
                file.write(between if number else "")
                file.write(json.dumps(row, ensure_ascii=False, allow_nan=False))
                number += 1
            file.write(closing if number or layout == "array" else "")
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be written: {error.strerror or error}") from None
    finally:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)
    return number


def layout_of(path: Path) -> Layout:
    """The form that a file's name asks for: `.jsonl` is lines, everything else an array."""
    return "lines" if path.suffix in (".jsonl", ".ndjson") else "array"
