"""The texts: grammar, observations and refusals."""

import json
import re
from collections.abc import Iterable
from typing import Final

from envhub.envs.babyai.view import AGENT, Thing, View
from envhub.functions import Function, Functions, Parameter
from envhub.sendable import sendable

_THING = Parameter("object", "string", "color and type, such as red ball or blue closed door")
_DOOR = Parameter("door", "string", "color, state and door, such as blue closed door")
_NUMBER = Parameter("number", "integer", "its number in the observation")

FUNCTIONS: Final = Functions(
    Function("turn_left", "turn left", "turn left on the spot"),
    Function("turn_right", "turn right", "turn right on the spot"),
    Function("move_forward", "move forward", "move one step ahead"),
    Function(
        "go_to", "go to {object} {number}", "walk up to something in sight and face it", (_THING, _NUMBER)
    ),
    Function(
        "pickup",
        "pickup {object} {number}",
        "walk up to a key, ball or box and pick it up",
        (_THING, _NUMBER),
    ),
    Function("go_through", "go through {door} {number}", "walk into an open doorway", (_DOOR, _NUMBER)),
    Function(
        "toggle_and_go_through",
        "toggle and go through {door} {number}",
        "walk up to a closed door, open it and step into the doorway; a locked door takes a key of its color",
        (_DOOR, _NUMBER),
    ),
    Function(
        "toggle", "toggle", "open or close the door right in front of you, or open a box with something in it"
    ),
    Function("drop", "drop", "put what you carry on the empty cell in front of you"),
    Function("go_to_goal", "go to goal", "walk onto the goal"),
    Function("check_available_actions", "check available actions", "list what you can do now"),
)
RULES: Final = """You are in a building of square rooms and are given a goal in words.
You see what is ahead of you, seven cells wide and deep, as far as no wall or closed door is in the way.
Things have a color, a type and a number; 1 is the nearest of its name.
You can carry one thing. To go to something means to stand beside it and face it.
What comes after "then", or before "after you", has to be done last.
Fewer steps give a higher reward."""

_SIMPLE: Final = tuple(function.template for function in FUNCTIONS if not function.parameters)
_NAMED = re.compile(
    r"(go to|pick ?up|toggle and go through|go through) (?:the )?"
    r"([a-z]{1,10}(?: [a-z]{1,10}){1,2}) ([1-9][0-9]?)",
    re.ASCII,
)
MAX_LENGTH: Final = 200
"""No action is written longer."""
_MAX_ECHO: Final = 60


def read(text: str) -> str | None:
    """The action in its one spelling; None when the text is not of the grammar."""
    written = text.strip()
    if len(written) > MAX_LENGTH:
        return None
    plain = " ".join(written.split()).lower()
    if plain in _SIMPLE:
        return plain
    match = _NAMED.fullmatch(plain)
    return f"{match[1].replace('pick up', 'pickup')} {match[2]} {match[3]}" if match else None


def echo(text: str) -> str:
    """The text on one line, short, and such that it can be shown and sent."""
    return " ".join(sendable(text[: 4 * _MAX_ECHO]).split())[:_MAX_ECHO]


def describe(view: View) -> str:
    """What is seen and carried, in AgentGym's form, double spaces included."""
    barrier = view.barrier
    parts = ["In front of you in this room, you can see several objects: "]
    parts += [f"There is a {thing.label} {_place(thing)}  " for thing in view.things]
    parts.append("The room has walls around you. ")
    if barrier:
        parts.append(f"You are facing a {barrier[0]} {barrier[1]} steps away. ")
    parts.append(
        f"You are carrying a {' '.join(view.carried)}." if view.carried else "You are not carrying anything."
    )
    return "".join(parts)


def available(actions: Iterable[str]) -> str:
    """The line that lists actions."""
    return f"Available actions: {json.dumps(list(actions))}"


def refusal(view: View, action: str) -> str:
    """Why an action of the grammar is not possible now."""
    match = _NAMED.fullmatch(action)
    if match:
        return _named_refusal(view, match[1], f"{match[2]} {match[3]}")
    if action == "move forward":
        kind = view.ahead.name if view.ahead else view.type_at((AGENT[0], AGENT[1] - 1))
        return f"You cannot move forward: there is a {kind} right in front of you."
    if action == "drop":
        return (
            "You cannot drop it here: the cell in front of you is not empty."
            if view.carried
            else _EMPTY_HANDS
        )
    if action == "go to goal":
        return "You see no way to a goal."
    if view.ahead and view.ahead.type == "door":
        return _locked(view.ahead)
    return "Nothing in front of you can be toggled."


_EMPTY_HANDS: Final = "You cannot drop anything: you are not carrying anything."


def _named_refusal(view: View, verb: str, label: str) -> str:
    thing = view.named(label)
    if thing is None:
        return f"You do not see {label}."
    if verb == "pickup" and not thing.can_be_carried:
        return f"You cannot pick up {label}."
    if verb == "pickup" and view.carried:
        return f"You are carrying a {' '.join(view.carried)} already. Drop it first."
    if verb != "go to" and thing.type == "door":
        if verb == "go through" and thing.state != "open":
            return f"You cannot go through {label}: it is {thing.state}. Toggle and go through it."
        if verb == "toggle and go through" and thing.state == "open":
            return f"It is open already: go through {label}."
        if thing.state == "locked" and view.has_key_for != thing.color:
            return _locked(thing)
    elif "through" in verb:
        return f"You cannot go through {label}: it is not a door."
    return f"You see no way to {label}."


def _locked(door: Thing) -> str:
    return f"The {door.color} door is locked: carry a {door.color} key to it."


def _place(thing: Thing) -> str:
    if thing.right == 0:
        return f"right in front of you {thing.forward} steps away."
    side = "right" if thing.right > 0 else "left"
    return f"{thing.forward} steps in front of you and {abs(thing.right)} steps to your {side}."
