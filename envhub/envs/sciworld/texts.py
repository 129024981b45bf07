"""What SciWorld says beside the simulator: its rules, its actions, and the words that it takes."""

import re
from functools import cache
from pathlib import Path
from typing import Final

from envhub.functions import Function, Functions, Parameter
from envhub.sendable import sendable

WORDS: Final = Path(__file__).with_name("words.txt")
MAX_NUMBER: Final = 2000
"""No thermometer of the simulator shows more degrees in any expert's path."""

RULES: Final = """You are in a building with rooms, and do an experiment of elementary science.
The first message says what the task is; do it exactly as it says.
Some tasks ask you to focus on something: focus on the right thing only, a wrong one loses the task.
Doors must be open before you go through. Things of one name are told apart by where they are, such as
water in metal pot. When several things fit, you are shown a numbered list: answer with a number.
The score goes from 0 to 100, and the task is done at 100."""

NO_MATCH: Final = "No known action matches that input."
AMBIGUOUS: Final = "Ambiguous request"
BROKEN: Final = "The simulator cannot go on with this world."


def _named(name: str, template: str, description: str, **parameters: str) -> Function:
    return Function(
        name, template, description, tuple(Parameter(key, "string", what) for key, what in parameters.items())
    )


_THING: Final = "the name of a thing"
FUNCTIONS: Final = Functions(
    _named("look_around", "look around", "describe the room you are in"),
    _named("look_at", "look at {thing}", "describe a thing closely", thing=_THING),
    _named("look_in", "look in {container}", "describe what is in a container", container=_THING),
    _named("read", "read {document}", "read a note, a book or a recipe", document=_THING),
    _named("inventory", "inventory", "list what you carry"),
    _named("task", "task", "show the task again"),
    _named("go_to", "go to {room}", "walk through an open door", room="the name of the next room"),
    _named("open", "open {thing}", "open a door or a container", thing=_THING),
    _named("close", "close {thing}", "close a door or a container", thing=_THING),
    _named("pick_up", "pick up {thing}", "take a thing with you", thing=_THING),
    _named("put_down", "put down {thing}", "drop a thing that you carry", thing=_THING),
    _named("move", "move {thing} to {place}", "put a thing into or onto another", thing=_THING, place=_THING),
    _named("activate", "activate {device}", "turn a device on", device=_THING),
    _named("deactivate", "deactivate {device}", "turn a device off", device=_THING),
    _named("use", "use {tool} on {thing}", "use a tool on a thing", tool=_THING, thing=_THING),
    _named("focus_on", "focus on {thing}", "tell that this is the thing of the task", thing=_THING),
    _named("pour", "pour {liquid} in {container}", "pour a liquid", liquid=_THING, container=_THING),
    _named("dunk", "dunk {thing} in {liquid}", "dip a thing into a liquid", thing=_THING, liquid=_THING),
    _named("mix", "mix {container}", "mix what a container holds", container=_THING),
    _named("connect", "connect {end} to {other}", "join two electrical ends", end=_THING, other=_THING),
    _named("disconnect", "disconnect {end}", "part electrical ends", end=_THING),
    _named("eat", "eat {food}", "eat something", food=_THING),
    _named("flush", "flush {toilet}", "flush a toilet", toilet=_THING),
    _named("wait", "wait", "let ten moments pass"),
    _named("wait1", "wait1", "let one moment pass"),
    _named("reset_task", "reset task", "take back what you focused on"),
    Function(
        "choose",
        "{number}",
        "answer a numbered list",
        (Parameter("number", "integer", "the number in front of what you meant"),),
    ),
)

_ALIASES: Final = (
    (re.compile(r"^drop (?=\S)"), "put down "),
    (re.compile(r"^examine (?=\S)"), "look at "),
    (re.compile(r"^go (?!to )(?=\S)"), "go to "),
    (re.compile(r"^((?:pour|dunk) .*) into (?=\S)"), r"\1 in "),
)


def cleaned(text: str) -> str:
    """On one line, and in what every socket can carry."""
    return " ".join(sendable(text).split())


def canonical(action: str) -> str:
    """The action in the words of `FUNCTIONS`, where the simulator has several for the same."""
    for alias, written in _ALIASES:
        action = alias.sub(written, action)
    return action


@cache
def simulator_words() -> tuple[str, ...]:
    """Frozen words of the simulator's texts and of its experts; written by `freeze.py`."""
    return tuple(WORDS.read_text().split("\n")[:-1])
