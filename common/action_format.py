"""How an action stands in the text that a policy writes: parsed, never evaluated.

    plain    the whole text is the action
    react    Thought: why
             Action: the action

An action is one line. A text with no action, or with several, is malformed: an ordinary outcome that
the environment answers with `malformed_reply`.
"""

import re
from typing import Final, Literal, get_args

from common.errors import ConfigurationError

ActionFormat = Literal["plain", "react"]
ACTION_FORMATS: Final[tuple[str, ...]] = get_args(ActionFormat)

# A word-level tokenizer decodes the marker as `Action :`; both spellings are the same marker.
_MARKER = re.compile(r"\bAction\s*:")


def parse(text: str, action_format: str) -> str | None:
    """The one action in `text`, without surrounding white space; None when it has none or several."""
    body = text
    if checked(action_format) == "react":
        parts = _MARKER.split(text)
        if len(parts) != 2:
            return None
        body = parts[1]
    lines = [line.strip() for line in body.splitlines() if line.strip()]
    return lines[0] if len(lines) == 1 else None


def render(action: str, action_format: str, thought: str = "") -> str:
    """The text that `parse` reads as `action`; without a thought `react` is the action line alone.

    Raises ValueError for an action or thought that would not survive: empty, of several lines, or with
    an action marker inside.
    """
    text = action
    if checked(action_format) == "react":
        text = f"Action: {action}"
        if thought:
            text = f"Thought: {thought}\n{text}"
    if parse(text, action_format) != action:
        raise ValueError(f"action {action!r} with thought {thought!r}: cannot be written as {action_format}")
    return text


def malformed_reply(action_format: str) -> str:
    """The observation that answers a malformed text."""
    if checked(action_format) == "react":
        return "Could not read the action. Write one line: Action: your action"
    return "Could not read the action. Write one action on one line."


def checked(action_format: str) -> str:
    """The format itself; ConfigurationError when it is not one of `ACTION_FORMATS`."""
    if action_format not in ACTION_FORMATS:
        raise ConfigurationError(
            f"action_format = {action_format!r}: unknown; allowed are {', '.join(ACTION_FORMATS)}"
        )
    return action_format
