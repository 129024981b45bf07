"""A function call as data: what `function_calling` and `code_as_action` write instead of an action.

    {"function_name": "get", "arguments": {"count": 2, "item": "oak log"}}
    get(2, "oak log")

Both become one `Call`, whose `text` is one line of JSON: the form in which an action travels to the hub,
where the environment's own functions turn it into an action. Nothing is ever evaluated.
"""

import ast
import json
from typing import Any

from pydantic import Field, ValidationError, field_validator

from common.trajectory import Record

MAX_SOURCE = 4000
"""Characters of code that are looked at: Python's parser is not made for adversaries."""

MIN_INTEGER, MAX_INTEGER = -(2**63), 2**63 - 1
"""The whole numbers that every wire carries."""
_NOT_IN_A_LINE = {ord(mark): f"\\u{ord(mark):04x}" for mark in "\x85\u2028\u2029"}
"""Ends of lines that JSON would leave as they are."""

Value = str | int | float | bool | None


class Call(Record):
    """A function's name and its arguments, in order or by name; values are plain JSON values.

    Numbers are finite, whole ones have at most 64 bits.
    """

    function_name: str = Field(min_length=1, max_length=100)
    arguments: dict[str, Value] | list[Value] = Field(default_factory=dict)
    """A list when they came in order, without names."""

    @field_validator("arguments")
    @classmethod
    def _can_travel(cls, arguments: dict[str, Value] | list[Value]) -> dict[str, Value] | list[Value]:
        for value in arguments.values() if isinstance(arguments, dict) else arguments:
            if isinstance(value, int) and not MIN_INTEGER <= value <= MAX_INTEGER:
                raise ValueError("a whole number has more than 64 bits")
        return arguments

    @property
    def text(self) -> str:
        """The call as one line of JSON; `read` gives it back."""
        return json.dumps(self.model_dump(), ensure_ascii=False).translate(_NOT_IN_A_LINE)


def read(text: str) -> Call | None:
    """The call that `text` is, as JSON; other keys (`thought`) are ignored. None when it is none."""
    try:
        value = json.loads(text)
        return _call(value.get("function_name"), value.get("arguments") or {})
    except (ValueError, AttributeError, RecursionError):
        return None


def read_code(source: str) -> Call | None:
    """The call that a line of Python is, `name(literal, ..., key=literal)`; None when it is anything else."""
    if len(source) > MAX_SOURCE:
        return None
    try:
        body = ast.parse(source.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    if not isinstance(body, ast.Call) or not isinstance(body.func, ast.Name):
        return None
    try:
        positional = [_literal(node) for node in body.args]
        named = {str(key.arg): _literal(key.value) for key in body.keywords if key.arg}
    except ValueError:
        return None
    if (positional and named) or len(named) != len(body.keywords):
        return None
    return _call(body.func.id, positional or named)


def as_code(call: Call) -> str:
    """The call as a line of Python, which `read_code` reads."""
    if isinstance(call.arguments, list):
        return f"{call.function_name}({', '.join(map(repr, call.arguments))})"
    return f"{call.function_name}({', '.join(f'{key}={value!r}' for key, value in call.arguments.items())})"


def _call(name: Any, arguments: Any) -> Call | None:
    try:
        return Call(function_name=name, arguments=arguments)
    except ValidationError:
        return None


def _literal(node: ast.expr) -> Value:
    """The plain value that the node is, a number with a sign included; ValueError for anything else."""
    match node:
        case ast.Constant(value=str() | int() | float() | None as value):
            return value
        case ast.UnaryOp(
            op=ast.USub() | ast.UAdd() as sign, operand=ast.Constant(value=int() | float() as value)
        ):
            if not isinstance(value, bool):
                return -value if isinstance(sign, ast.USub) else value
    raise ValueError("not a plain value")
