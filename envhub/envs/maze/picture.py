"""A maze as a picture."""

from collections.abc import Iterator

from envhub.envs.maze.grid import Cell, Grid
from envhub.png import png

_SQUARE = 16
"""Pixels along the side of a cell."""
_PALETTE = bytes((245, 245, 240, 40, 44, 52, 60, 160, 80, 200, 50, 50))
"""Red, green and blue of: free, wall, goal, walker."""
_GOAL, _WALKER = 2, 3


def drawn(grid: Grid, goal: Cell, walker: Cell) -> bytes:
    """A PNG with every cell a coloured square; the walker is drawn over the goal."""
    return png(grid.width * _SQUARE, grid.height * _SQUARE, _lines(grid, goal, walker), _PALETTE)


def _lines(grid: Grid, goal: Cell, walker: Cell) -> Iterator[bytes]:
    for r, row in enumerate(grid.rows):
        colours = bytearray(int(mark) for mark in row)
        for cell, colour in ((goal, _GOAL), (walker, _WALKER)):
            if cell[0] == r:
                colours[cell[1]] = colour
        line = b"".join(bytes((colour,)) * _SQUARE for colour in colours)
        yield from (line for _ in range(_SQUARE))
