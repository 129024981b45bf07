"""What the agent sees: the cells of its window as things with names, numbers and places relative to it.

Columns count from the left, rows from the far edge; the agent stands in the middle of the last row and
looks towards row 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

SIZE: Final = 7
AGENT: Final = (SIZE // 2, SIZE - 1)
AHEAD: Final = (AGENT[0], AGENT[1] - 1)

Cell = tuple[int, int]
"""Column and row."""

# How the package writes a cell: type, color, state of a door.
COLORS: Final = ("red", "green", "blue", "purple", "yellow", "grey")
TYPES: Final = ("unseen", "empty", "wall", "floor", "door", "key", "ball", "box", "goal", "lava", "agent")
DOOR_STATES: Final = ("open", "closed", "locked")
_THINGS: Final = frozenset({"door", "key", "ball", "box", "goal", "lava"})
_FREE: Final = frozenset({"empty", "floor", "goal"})


@dataclass(frozen=True)
class Thing:
    """Something that can be named, such as `blue closed door` number 1; 1 is the nearest of its name."""

    type: str
    color: str
    state: str
    """Of a door; empty for other things."""
    cell: Cell
    number: int

    @property
    def name(self) -> str:
        """Color, state of a door, type."""
        return " ".join(filter(None, (self.color, self.state, self.type)))

    @property
    def label(self) -> str:
        """Name and number, as actions write it."""
        return f"{self.name} {self.number}"

    @property
    def forward(self) -> int:
        """Steps ahead of the agent."""
        return AGENT[1] - self.cell[1]

    @property
    def right(self) -> int:
        """Steps to the right of the agent; negative to the left."""
        return self.cell[0] - AGENT[0]

    @property
    def can_be_carried(self) -> bool:
        """Keys, balls and boxes can."""
        return self.type in ("key", "ball", "box")


class View:
    """One look: the window's cells, and what the agent carries."""

    def __init__(
        self, image: Sequence[Sequence[Sequence[int]]], carried: tuple[str, str] | None, has_full_box: bool
    ) -> None:
        self._image = image
        self.carried = carried
        """Color and type; None when the hands are free."""
        self.has_full_box = has_full_box
        """A box with something in it stands right ahead."""

    @cached_property
    def things(self) -> tuple[Thing, ...]:
        """From near to far, numbered by name; equally near ones from the far row on, from left to right."""
        seen = [
            (abs(column - AGENT[0]) + abs(row - AGENT[1]), (column, row))
            for row in range(SIZE)
            for column in range(SIZE)
            if (column, row) != AGENT and TYPES[self._image[column][row][0]] in _THINGS
        ]
        counts: dict[tuple[int, ...], int] = {}
        found = []
        for _, cell in sorted(seen, key=lambda entry: entry[0]):
            code = tuple(self._image[cell[0]][cell[1]])
            counts[code] = counts.get(code, 0) + 1
            found.append(_thing(code, cell, counts[code]))
        return tuple(found)

    @cached_property
    def ahead(self) -> Thing | None:
        """The thing right ahead."""
        return next((thing for thing in self.things if thing.cell == AHEAD), None)

    def type_at(self, cell: Cell) -> str:
        """The type of a cell of the window; `unseen` outside it."""
        column, row = cell
        if not (0 <= column < SIZE and 0 <= row < SIZE):
            return "unseen"
        return TYPES[self._image[column][row][0]]

    def is_free(self, cell: Cell) -> bool:
        """Whether the agent could stand there."""
        kind = self.type_at(cell)
        if kind == "door":
            return DOOR_STATES[self._image[cell[0]][cell[1]][2]] == "open"
        return kind in _FREE or cell == AGENT

    def named(self, label: str) -> Thing | None:
        """The thing with that name and number."""
        return next((thing for thing in self.things if thing.label == label), None)

    @property
    def barrier(self) -> tuple[str, int] | None:
        """The nearest wall or box straight ahead, and how many steps away it is."""
        for steps in range(1, SIZE):
            kind = self.type_at((AGENT[0], AGENT[1] - steps))
            if kind in ("wall", "box"):
                return kind, steps
        return None

    @property
    def has_key_for(self) -> str:
        """The color of the carried key; empty when no key is carried."""
        return self.carried[0] if self.carried and self.carried[1] == "key" else ""


def _thing(code: tuple[int, ...], cell: Cell, number: int) -> Thing:
    kind = TYPES[code[0]]
    return Thing(kind, COLORS[code[1]], DOOR_STATES[code[2]] if kind == "door" else "", cell, number)
