"""The grammar of actions: as functions, and every way of writing one brought into one form."""

import re
from dataclasses import dataclass

from envhub.functions import Function, Functions, Parameter

_OBJECT = Parameter("object", "string", "a thing with its number, such as mug 1")
_RECEPTACLE = Parameter("receptacle", "string", "a place with its number, such as cabinet 2")
_TOOL = Parameter("tool", "string", "the place or thing that does it, such as microwave 1")
FUNCTIONS = Functions(
    Function("goto", "go to {receptacle}", "walk to a place", (_RECEPTACLE,)),
    Function(
        "take", "take {object} from {receptacle}", "pick up a thing; you can hold one", (_OBJECT, _RECEPTACLE)
    ),
    Function(
        "move",
        "move {object} to {receptacle}",
        "put what you hold into or onto a place",
        (_OBJECT, _RECEPTACLE),
    ),
    Function("open", "open {receptacle}", "open a place that is closed", (_RECEPTACLE,)),
    Function("close", "close {receptacle}", "close it again", (_RECEPTACLE,)),
    Function("use", "use {object}", "switch on a lamp", (_OBJECT,)),
    Function("heat", "heat {object} with {tool}", "heat what you hold at a microwave", (_OBJECT, _TOOL)),
    Function("clean", "clean {object} with {tool}", "wash what you hold at a sinkbasin", (_OBJECT, _TOOL)),
    Function("cool", "cool {object} with {tool}", "cool what you hold at a fridge", (_OBJECT, _TOOL)),
    Function(
        "slice", "slice {object} with {tool}", "cut a thing with the knife that you hold", (_OBJECT, _TOOL)
    ),
    Function("examine", "examine {object}", "look closely at a place or a thing", (_OBJECT,)),
    Function("look", "look", "see where you are"),
    Function("inventory", "inventory", "see what you hold"),
    Function("help", "help", "list the commands"),
)
_NAME = r"([a-z]+(?: [0-9]+)?)"
_PATTERNS = (
    ("go", re.compile(rf"(?:go to|goto) {_NAME}")),
    ("take", re.compile(rf"take {_NAME} from {_NAME}")),
    ("move", re.compile(rf"(?:move {_NAME} to|put {_NAME} (?:in/on|in|on|into|onto|to)) {_NAME}")),
    ("open", re.compile(rf"open {_NAME}")),
    ("close", re.compile(rf"close {_NAME}")),
    ("use", re.compile(rf"(?:use|toggle) {_NAME}")),
    ("heat", re.compile(rf"heat {_NAME} with {_NAME}")),
    ("clean", re.compile(rf"clean {_NAME} with {_NAME}")),
    ("cool", re.compile(rf"cool {_NAME} with {_NAME}")),
    ("slice", re.compile(rf"slice {_NAME} with {_NAME}")),
    ("examine", re.compile(rf"examine {_NAME}(?: with {_NAME})?")),
    ("look", re.compile(r"look(?: around)?")),
    ("inventory", re.compile(r"inventory")),
    ("help", re.compile(r"help")),
)
_FORMS = {
    "go": "go to {}",
    "take": "take {} from {}",
    "move": "move {} to {}",
    "heat": "heat {} with {}",
    "clean": "clean {} with {}",
    "cool": "cool {} with {}",
    "slice": "slice {} with {}",
}
MAX_LENGTH = 200
"""No action is written longer."""


@dataclass(frozen=True)
class Command:
    """An action and the names that it is about."""

    verb: str
    names: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """As ALFWorld 0.4 writes it."""
        form = _FORMS.get(self.verb)
        return form.format(*self.names) if form else " ".join((self.verb, *self.names))


def command(text: str) -> Command | None:
    """The command that any known way of writing means; None for what is no action at all."""
    written = text.strip()
    if len(written) > MAX_LENGTH:
        return None
    cleaned = " ".join(written.lower().split())
    for verb, pattern in _PATTERNS:
        if match := pattern.fullmatch(cleaned):
            return Command(verb, tuple(name for name in match.groups() if name))
    return None
