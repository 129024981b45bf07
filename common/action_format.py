"""How an action stands in the text that a policy writes: parsed, never evaluated.

    plain             the whole text is the action
    react             Thought: why
                      Action: the action
    function_calling  {"thought": "why", "function_name": "get", "arguments": {"count": 2, "item": "oak log"}}
    code_as_action    ```python
                      # why
                      get(2, "oak log")
                      ```

An action is one line. A text with no action, or with several, is malformed: an ordinary outcome that
the environment answers with `malformed_reply`. In the last two formats the action is a call (`common.calls`)
as a line of JSON, which the environment's functions translate.
"""

import json
import re
from typing import Final, Literal, get_args

from common import calls
from common.errors import ConfigurationError

ActionFormat = Literal["plain", "react", "function_calling", "code_as_action"]
ACTION_FORMATS: Final[tuple[str, ...]] = get_args(ActionFormat)
CALL_FORMATS: Final = ("function_calling", "code_as_action")
"""Formats whose actions are calls."""

# A word-level tokenizer decodes the marker as `Action :`; both spellings are the same marker.
_MARKER = re.compile(r"\bAction\s*:")
_BLOCK = re.compile(r"```\s*python\b(.*?)```", re.DOTALL)

_REPLIES = {
    "plain": "Write one action on one line.",
    "react": "Write one line: Action: your action",
    "function_calling": 'Write one JSON object: {"thought": ..., "function_name": ..., "arguments": {...}}',
    "code_as_action": "Write one block: ```python, a comment, one function call, ```",
}


def parse(text: str, action_format: str) -> str | None:
    """The one action in `text`, without surrounding white space; None when it has none or several."""
    if checked(action_format) == "function_calling":
        return _text(calls.read(text[text.find("{") : text.rfind("}") + 1]))
    if action_format == "code_as_action":
        return _text(_code(text))
    body = text
    if action_format == "react":
        parts = _MARKER.split(text)
        if len(parts) != 2:
            return None
        body = parts[1]
    lines = [line.strip() for line in body.splitlines() if line.strip()]
    return lines[0] if len(lines) == 1 else None


def render(action: str, action_format: str, thought: str = "") -> str:
    """The text that `parse` reads as `action`; without a thought `react` is the action line alone.

    In the call formats `action` is the text of a call. Raises ValueError for an action or thought that would
    not survive: empty, of several lines, or with an action marker inside.
    """
    text = _written(action, checked(action_format), thought)
    if parse(text, action_format) != action:
        raise ValueError(f"action {action!r} with thought {thought!r}: cannot be written as {action_format}")
    return text


def malformed_reply(action_format: str) -> str:
    """The observation that answers a malformed text."""
    return f"Could not read the action. {_REPLIES[checked(action_format)]}"


def checked(action_format: str) -> str:
    """The format itself; ConfigurationError when it is not one of `ACTION_FORMATS`."""
    if action_format not in ACTION_FORMATS:
        raise ConfigurationError(
            f"action_format = {action_format[:80]!r}: unknown; allowed are {', '.join(ACTION_FORMATS)}"
        )
    return action_format


def _text(call: calls.Call | None) -> str | None:
    return call.text if call else None


def _code(text: str) -> calls.Call | None:
    """The one call in the one block; comments are thoughts."""
    blocks = _BLOCK.findall(text)
    if len(blocks) != 1:
        return None
    lines = [line for line in blocks[0].splitlines() if line.strip() and not line.strip().startswith("#")]
    return calls.read_code("\n".join(lines)) if lines else None


def _written(action: str, action_format: str, thought: str) -> str:
    if action_format in CALL_FORMATS:
        call = calls.read(action)
        if call is None:
            raise ValueError(f"action {action!r}: not a call")
        if action_format == "function_calling":
            return json.dumps({"thought": thought, **call.model_dump()}, ensure_ascii=False)
        return f"```python\n# {thought}\n{calls.as_code(call)}\n```"
    if action_format == "react":
        return f"Thought: {thought}\nAction: {action}" if thought else f"Action: {action}"
    return action
