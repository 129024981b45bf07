"""An environment's grammar as functions: the same actions for prompts, for JSON calls and for code.

    get = Function("get", "get {count} {item}", "fetch pieces of an item",
                   (Parameter("count", "integer", "how many"), Parameter("item", "string", "its name")))

The template is the action with its arguments filled in; read backwards it gives the call of an action. Of
several functions that fit an action the first in order is meant.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from common.calls import Call
from envhub.template import PLACE, Template

_PYTHON_NAMES = {"string": "str", "integer": "int"}


@dataclass(frozen=True)
class Parameter:
    """One argument; strings keep to one line, integers to 64 bits."""

    name: str
    kind: Literal["string", "integer"] = "string"
    description: str = ""

    def accepts(self, value: Any) -> bool:
        """Whether the value can stand in an action."""
        if self.kind == "integer":
            return isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63
        return isinstance(value, str) and bool(value.strip()) and len(value.splitlines()) == 1


@dataclass(frozen=True)
class Function:
    """One kind of action; `template` names every parameter once, as `{name}`."""

    name: str
    template: str
    description: str
    parameters: tuple[Parameter, ...] = ()

    @cached_property
    def _template(self) -> Template:
        return Template(self.template, {p.name for p in self.parameters if p.kind == "integer"})

    def read(self, action: str) -> dict[str, Any] | None:
        """The arguments of an action, in order; None when the template does not fit it."""
        found = self._template.read(action)
        if found is None:
            return None
        meant = {
            p.name: int(found[p.name]) if p.kind == "integer" else found[p.name] for p in self.parameters
        }
        return meant if all(p.accepts(meant[p.name]) for p in self.parameters) else None

    def action(self, arguments: dict[str, Any]) -> str:
        """The action with these arguments; ValueError when they are not the parameters."""
        wrong = [
            p.name for p in self.parameters if p.name not in arguments or not p.accepts(arguments[p.name])
        ]
        if wrong or len(arguments) != len(self.parameters):
            raise ValueError(f"{self.name} takes {self.signature}")
        return PLACE.sub(lambda place: str(arguments[place[1]]).strip(), self.template)

    @property
    def signature(self) -> str:
        """As Python writes it, `get(count: int, item: str)`."""
        shown = ", ".join(f"{p.name}: {_PYTHON_NAMES[p.kind]}" for p in self.parameters)
        return f"{self.name}({shown})"


class Functions(Sequence[Function]):
    """All functions of an environment, by order and by name."""

    def __init__(self, *functions: Function) -> None:
        self._functions = functions
        self._by_name = {function.name: function for function in functions}

    def __getitem__(self, index: Any) -> Any:
        """By position."""
        return self._functions[index]

    def __len__(self) -> int:
        """How many."""
        return len(self._functions)

    def action(self, call: Call) -> str:
        """The action that the call means; ValueError, in words for the policy, when it means none."""
        function = self._by_name.get(call.function_name)
        if function is None:
            raise ValueError(f"There is no such function. There are: {', '.join(self._by_name)}.")
        given = call.arguments
        if isinstance(given, list):
            if len(given) != len(function.parameters):
                raise ValueError(f"{function.name} takes {function.signature}")
            given = {p.name: value for p, value in zip(function.parameters, given, strict=True)}
        return function.action(given)

    def call(self, action: str) -> Call:
        """The call that means the action; ValueError when no template fits."""
        for function in self._functions:
            arguments = function.read(action)
            if arguments is not None:
                return Call(function_name=function.name, arguments=arguments)
        raise ValueError(f"action {action[:80]!r}: no function has such a template")

    @property
    def grammar(self) -> str:
        """One line per action: its form, and what it does."""
        return "\n".join(
            f"{PLACE.sub(lambda place: place[1].upper(), f.template)}: {f.description}" for f in self
        )

    @property
    def schemas(self) -> str:
        """One line of JSON per function, with a JSON schema of its parameters."""
        return "\n".join(json.dumps(_schema(function), ensure_ascii=False) for function in self)

    @property
    def signatures(self) -> str:
        """Python signatures, each with what it does."""
        return "\n".join(f"def {f.signature}  # {f.description}" for f in self)


def _schema(function: Function) -> dict[str, Any]:
    properties = {p.name: {"type": p.kind, "description": p.description} for p in function.parameters}
    return {
        "name": function.name,
        "description": function.description,
        "parameters": {"type": "object", "properties": properties, "required": list(properties)},
    }
