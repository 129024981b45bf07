"""Gymnasium's spaces as text: how an observation reads, and what a text means as an action."""

import json
import re
from collections.abc import Sequence
from types import ModuleType
from typing import Any

from envhub.functions import Function, Functions, Parameter

MAX_BOX = 16
"""Numbers of a `Box` that are still shown as text; more are a picture."""

_COLOURS = dict(enumerate(("gray", "red", "green", "yellow", "blue", "magenta", "cyan", "white")))
_MARK = re.compile(r"\x1b\[([0-9;]*)m(.*?)\x1b\[0m", re.DOTALL)
_CONTROL = re.compile(r"\x1b\[[0-9;]*m")
_NUMBER = re.compile(r"-?[0-9]{1,9}")


def plain(rendered: str) -> str:
    """Text for a terminal without its control sequences: what was coloured stands as `[red:S]`."""
    return _CONTROL.sub("", _MARK.sub(_named, rendered)).strip("\n")


def _named(mark: re.Match[str]) -> str:
    """Codes from 40 on colour the background."""
    codes = [int(code) % 40 % 30 for code in mark[1].split(";") if code and int(code) >= 30]
    return f"[{_COLOURS.get(codes[0], 'marked')}:{mark[2]}]" if codes else mark[2]


def is_readable(space: Any, spaces: ModuleType) -> bool:
    """Whether observations of this space can be written as a short text."""
    if isinstance(space, spaces.Box):
        return _size(space) <= MAX_BOX
    if isinstance(space, spaces.Tuple):
        return all(is_readable(part, spaces) for part in space.spaces)
    if isinstance(space, spaces.Dict):
        return all(is_readable(part, spaces) for part in space.spaces.values())
    return isinstance(space, spaces.Text | spaces.Discrete | spaces.MultiDiscrete | spaces.MultiBinary)


def written(observation: Any) -> str:
    """An observation as text: a text as it is, anything else as JSON."""
    return observation if isinstance(observation, str) else json.dumps(observation, default=_plain_value)


def _plain_value(value: Any) -> Any:
    """NumPy's arrays and numbers as Python's."""
    return value.tolist() if hasattr(value, "tolist") else str(value)


def _size(space: Any) -> int:
    size = 1
    for length in space.shape:
        size *= length
    return size


class TextActions:
    """Any text is an action."""

    def __init__(self, description: str) -> None:
        self.functions = Functions(
            Function("act", "{action}", description, (Parameter("action", "string", "what you do"),))
        )
        self.refusal = "Write an action."

    def read(self, text: str) -> Any:
        """The text itself; None when it is empty."""
        return text or None

    def hints(self, mask: Any) -> tuple[str, ...]:
        """None: the texts are the environment's own."""
        return ()


class NumberedActions:
    """One of several numbered actions, by number or, where it has names, by name."""

    def __init__(self, first: int, count: int, names: Sequence[str], description: str) -> None:
        self._first, self._count = first, count
        self._names = tuple(names)
        self._by_name = {name.lower(): first + index for index, name in enumerate(self._names)}
        self.functions = self._functions(description)
        self.refusal = f"Not an action. There are: {', '.join(self.hints(None)[:40])}."

    def read(self, text: str) -> Any:
        """The action's number; None when the text is none."""
        if text.lower() in self._by_name:
            return self._by_name[text.lower()]
        number = int(text) if _NUMBER.fullmatch(text) and text.isascii() else self._first - 1
        return number if self._first <= number < self._first + self._count else None

    def hints(self, mask: Any) -> tuple[str, ...]:
        """Every action that the mask allows."""
        shown = self._names or tuple(str(self._first + index) for index in range(self._count))
        if mask is None or len(mask) != len(shown):
            return shown
        return tuple(name for name, allowed in zip(shown, mask, strict=True) if allowed)

    def _functions(self, description: str) -> Functions:
        if self._names:
            return Functions(
                *(Function(_identifier(name), name, "one of the actions") for name in self._names)
            )
        last = self._first + self._count - 1
        number = Parameter("number", "integer", f"{self._first} to {last}")
        return Functions(Function("act", "{number}", description, (number,)))


class NumbersActions:
    """Several numbers, each within its own count, as `MultiDiscrete` has them."""

    def __init__(self, counts: Sequence[int], description: str) -> None:
        self._counts = tuple(counts)
        parameters = tuple(
            Parameter(f"number_{index}", "integer", f"0 to {count - 1}") for index, count in enumerate(counts)
        )
        template = " ".join(f"{{{parameter.name}}}" for parameter in parameters)
        self.functions = Functions(Function("act", template, description, parameters))
        self.refusal = (
            f"Not an action. Write {len(counts)} numbers, each below {', '.join(map(str, counts))}."
        )

    def read(self, text: str) -> Any:
        """The numbers; None when there are more or fewer, or one is out of range."""
        parts = text.split()
        if len(parts) != len(self._counts) or not all(_NUMBER.fullmatch(part) for part in parts):
            return None
        numbers = [int(part) for part in parts]
        fit = all(0 <= number < count for number, count in zip(numbers, self._counts, strict=True))
        return numbers if fit else None

    def hints(self, mask: Any) -> tuple[str, ...]:
        """The action of zeros."""
        return (" ".join("0" for _ in self._counts),)


Actions = TextActions | NumberedActions | NumbersActions


def actions_of(space: Any, spaces: ModuleType, names: Sequence[str]) -> Actions | None:
    """The actions of a space; None when its actions are no texts. No space at all means any text."""
    if space is None or isinstance(space, spaces.Text):
        return TextActions("do this")
    if isinstance(space, spaces.Discrete):
        fitting = names if len(names) == int(space.n) else ()
        return NumberedActions(int(space.start), int(space.n), fitting, "take the action of this number")
    if isinstance(space, spaces.MultiDiscrete) and len(space.shape) == 1:
        return NumbersActions([int(count) for count in space.nvec], "take these numbers as the action")
    return None


def _identifier(name: str) -> str:
    return re.sub(r"\W+", "_", name.lower()).strip("_") or "act"
