"""What clients of the dialects send, read leniently: whatever AgentGym's own servers took is taken."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from aiohttp import web

from envhub.refusal import HubRefusal
from envhub.sendable import sendable

_MAX_DIGITS = 16
_MAX_INDEX = 2**31 - 1
_MAX_NAME = 200


async def read_values(request: web.Request) -> Mapping[str, Any]:
    """Query and body as one mapping, the body's above the query's; no body at all is an empty one.

    The content type is not looked at: AgentGym's clients send bodies without. HubRefusal `bad_request` or
    `too_large` for what is not a JSON object.
    """
    try:
        body = await request.read()
        values = json.loads(body) if body.strip() else {}
    except web.HTTPRequestEntityTooLarge:
        raise HubRefusal("too_large", "the body is too large") from None
    except (ValueError, RecursionError, web.RequestPayloadError, ConnectionError):
        raise HubRefusal("bad_request", "the body is not JSON") from None
    if values is None:
        values = {}
    if not isinstance(values, dict):
        raise HubRefusal("bad_request", "the body is not a JSON object")
    return {**request.query, **values}


def read_id(values: Mapping[str, Any], keys: Iterable[str]) -> int:
    """The id; 0, which is never one, when there is none or it is no whole number."""
    value = _first(values, keys)
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= _MAX_DIGITS:
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def read_task(values: Mapping[str, Any], keys: tuple[str, ...], default: int | None) -> int | str:
    """The index of a task, or its name; HubRefusal `bad_request` when there is neither and no default."""
    value = _first(values, keys)
    if value is None:
        value = default
    if isinstance(value, str):
        number = value.removeprefix("-")
        if number.isascii() and number.isdigit() and len(number) <= _MAX_DIGITS:
            value = int(value)
        else:
            return sendable(value[:_MAX_NAME])
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) <= _MAX_INDEX:
        return value
    raise HubRefusal("bad_request", f"{keys[0]}: the index of a task is expected")


def read_first_task(values: Mapping[str, Any]) -> int | str:
    """What a TextCraft client's `create` asks to play at once: task 0, or the task of a goal.

    HubRefusal `bad_request` for commands of its own, which would be recipes that no task has.
    """
    goal = values.get("goal")
    if values.get("commands"):
        raise HubRefusal("bad_request", "commands: recipes of one's own are not played here")
    return (
        sendable("textcraft_" + "_".join(goal[:_MAX_NAME].split())) if isinstance(goal, str) and goal else 0
    )


def read_action(values: Mapping[str, Any]) -> str:
    """The action; HubRefusal `bad_request` when there is no text."""
    action = values.get("action")
    if not isinstance(action, str):
        raise HubRefusal("bad_request", "action: a text is expected")
    return sendable(action)


def _first(values: Mapping[str, Any], keys: Iterable[str]) -> Any:
    return next((values[key] for key in keys if values.get(key) is not None), None)
