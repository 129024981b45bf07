"""Grids of walls and free cells, and the shortest ways through them."""

from collections import deque
from dataclasses import dataclass
from functools import cached_property

Cell = tuple[int, int]
"""Row and column from the upper left corner; the original calls them x and y."""

MOVES: dict[str, Cell] = {
    "move up": (-1, 0),
    "move down": (1, 0),
    "move left": (0, -1),
    "move right": (0, 1),
}


@dataclass(frozen=True)
class Grid:
    """Rows of equal length, `1` a wall and `0` free; all beyond the edges is wall."""

    rows: tuple[str, ...]

    @property
    def height(self) -> int:
        """How many rows."""
        return len(self.rows)

    @property
    def width(self) -> int:
        """How many columns."""
        return len(self.rows[0])

    def is_free(self, cell: Cell) -> bool:
        """Whether one can stand there."""
        row, column = cell
        return 0 <= row < self.height and 0 <= column < self.width and self.rows[row][column] == "0"

    def moved(self, cell: Cell, move: str) -> Cell:
        """Where a move from there ends: the same cell when a wall is in the way."""
        down, right = MOVES[move]
        target = (cell[0] + down, cell[1] + right)
        return target if self.is_free(target) else cell

    @cached_property
    def free(self) -> tuple[Cell, ...]:
        """Every free cell, row by row."""
        return tuple((r, c) for r, row in enumerate(self.rows) for c, mark in enumerate(row) if mark == "0")

    def distances(self, goal: Cell) -> dict[Cell, int]:
        """How many moves the goal is away from every cell that reaches it; breadth first."""
        found = {goal: 0}
        queue = deque([goal])
        while queue:
            cell = queue.popleft()
            for move in MOVES:
                neighbour = self.moved(cell, move)
                if neighbour not in found:
                    found[neighbour] = found[cell] + 1
                    queue.append(neighbour)
        return found


@dataclass(frozen=True)
class Puzzle:
    """A grid with a start and a goal, how much of it is told, and for how many turns."""

    grid: Grid
    start: Cell
    goal: Cell
    is_full: bool
    """Position and goal are told; otherwise the walls around one alone."""
    max_turns: int

    @cached_property
    def distances(self) -> dict[Cell, int]:
        """Moves to the goal from every cell that reaches it."""
        return self.grid.distances(self.goal)

    def best_move(self, cell: Cell) -> str:
        """A first move of a shortest way to the goal; the first of `MOVES` among equals."""
        return min(MOVES, key=lambda move: self.distances[self.grid.moved(cell, move)])


def enough_turns(grid: Grid) -> int:
    """Turns in which every cell can be visited and left again, and never fewer than the original's 50."""
    return max(50, 2 * len(grid.free))
