"""A maze as a PNG, written with the standard library alone."""

import struct
import zlib

from envhub.envs.maze.grid import Cell, Grid

_SQUARE = 16
"""Pixels along the side of a cell."""
_PALETTE = bytes((245, 245, 240, 40, 44, 52, 60, 160, 80, 200, 50, 50))
"""Red, green and blue of: free, wall, goal, walker."""
_GOAL, _WALKER = 2, 3


def png(grid: Grid, goal: Cell, walker: Cell) -> bytes:
    """Every cell a coloured square; the walker is drawn over the goal."""
    lines = []
    for r, row in enumerate(grid.rows):
        colours = bytearray(int(mark) for mark in row)
        for cell, colour in ((goal, _GOAL), (walker, _WALKER)):
            if cell[0] == r:
                colours[cell[1]] = colour
        line = b"\0" + b"".join(bytes((colour,)) * _SQUARE for colour in colours)
        lines.append(line * _SQUARE)
    size = struct.pack(">II", grid.width * _SQUARE, grid.height * _SQUARE)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        (
            _chunk(b"IHDR", size + bytes((8, 3, 0, 0, 0))),
            _chunk(b"PLTE", _PALETTE),
            _chunk(b"IDAT", zlib.compress(b"".join(lines))),
            _chunk(b"IEND", b""),
        )
    )


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
