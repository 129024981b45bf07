"""OpenEnv's typed actions as text: functions from a JSON schema or from a server's tools, and back again."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from envhub.functions import Function, Functions, Parameter

Payload = dict[str, Any]
_SILENT = ("metadata", "type")
"""Fields that are no part of what a policy decides."""


@dataclass(frozen=True)
class _Form:
    """One function, and how its arguments become an action."""

    function: Function
    types: Mapping[str, str]
    tool: str = ""

    def payload(self, given: Mapping[str, Any]) -> Payload:
        values = {name: _decoded(value, self.types.get(name, "string")) for name, value in given.items()}
        if self.tool:
            return {"type": "call_tool", "tool_name": self.tool, "arguments": values}
        return values


class OpenEnvActions:
    """What a text means as an action; several are possible where there are tools.

    An action of one text field is that text; of several, `act row=1 column=2`; a tool, `name(key=value)`. Any
    action may be written as a JSON object too, which alone reaches optional fields.
    """

    def __init__(self, schema: Mapping[str, Any], tools: Sequence[Mapping[str, Any]] = ()) -> None:
        self._fields = frozenset(schema.get("properties", ())) | {"type"}
        forms = [_tool_form(tool) for tool in tools] or [_action_form(schema)]
        self._forms = {form.function.name: form for form in forms}
        self.functions = Functions(*(form.function for form in forms))

    @property
    def refusal(self) -> str:
        """The reply to a text that means no action."""
        return f"Not an action. Write one of:\n{self.functions.grammar}"

    def read(self, text: str) -> Payload | None:
        """The action as JSON data; None when the text means none."""
        written = _object(text)
        if written is not None and written.keys() <= self._fields:
            return written
        try:
            call = self.functions.call(text)
        except ValueError:
            return None
        given = call.arguments if isinstance(call.arguments, dict) else {}
        return self._forms[call.function_name].payload(given)


def shown(observation: Mapping[str, Any]) -> str:
    """An observation's fields as text: one text alone, or a line `name: value` each."""
    fields = {
        name: value
        for name, value in observation.items()
        if name not in ("metadata", "done", "reward") and value is not None and value != ""
    }
    fields = fields or observation.get("metadata") or {}
    if len(fields) == 1 and isinstance(text := next(iter(fields.values())), str):
        return text
    return "\n".join(f"{name}: {_text(value)}" for name, value in fields.items())


def _text(value: Any) -> str:
    """A tool's result stands in `data` of what MCP wraps around it."""
    if isinstance(value, dict) and "data" in value and "content" in value:
        value = value["data"]
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _action_form(schema: Mapping[str, Any]) -> _Form:
    types, parameters = _read(schema)
    if len(parameters) == 1 and types[parameters[0].name] == "string":
        template = f"{{{parameters[0].name}}}"
    else:
        template = " ".join(["act", *(f"{p.name}={{{p.name}}}" for p in parameters)])
    return _Form(Function("act", template, _line(schema.get("description", "act")), parameters), types)


def _tool_form(tool: Mapping[str, Any]) -> _Form:
    types, parameters = _read(tool.get("input_schema") or {})
    given = ", ".join(f"{p.name}={{{p.name}}}" for p in parameters)
    name = str(tool["name"])
    description = _line(tool.get("description") or "a tool")
    return _Form(Function(name, f"{name}({given})", description, parameters), types, tool=name)


def _read(schema: Mapping[str, Any]) -> tuple[dict[str, str], tuple[Parameter, ...]]:
    """The fields that must be given, or all of them where none must."""
    fields = {k: v for k, v in schema.get("properties", {}).items() if k not in _SILENT}
    wanted = [name for name in fields if name in schema.get("required", ())] or list(fields)
    types = {name: str(fields[name].get("type", "any")) for name in fields}
    parameters = tuple(
        Parameter(
            name,
            "integer" if types[name] == "integer" else "string",
            _line(fields[name].get("description") or fields[name].get("title") or name),
        )
        for name in wanted
    )
    return types, parameters


def _decoded(value: Any, kind: str) -> Any:
    """A text field is the text, without the quotes of a call; any other is JSON where it reads as such."""
    if not isinstance(value, str) or (kind == "string" and value[:1] not in "\"'"):
        return value
    if kind == "string" and len(value) > 1 and value[0] == value[-1] == "'":
        return value[1:-1]
    try:
        return json.loads(value)
    except ValueError:
        return value


def _object(text: str) -> Payload | None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _line(text: Any) -> str:
    return re.sub(r"\s+", " ", str(text)).strip()[:300]
