"""What a level asks for and how its map hangs together, from the package's objects. Imports `minigrid`."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from minigrid.envs.babyai.core.verifier import AfterInstr, SeqInstr


def still_to_do(instruction: Any) -> Iterator[Any]:
    """The simple instructions that are still to be carried out, in order."""
    if not _is_sequence(instruction):
        yield instruction
        return
    parts = [(instruction.instr_a, instruction.a_done), (instruction.instr_b, instruction.b_done)]
    if isinstance(instruction, AfterInstr):
        parts.reverse()
    for part, state in parts:
        if state != "success":
            yield from still_to_do(part)


def is_strict(level: Any) -> bool:
    """Whether a wrong first attempt fails the mission, so that trying things out is not allowed."""
    return any(getattr(instruction, "strict", False) for instruction in _parts(level.instrs))


def whole_map(level: Any) -> Any:
    """`seen` for a planner that knows every cell from the start."""
    return np.ones((level.width, level.height), dtype=bool)


def door_to_unlock(level: Any) -> Any:
    """A locked door that can be reached, and its key too, without unlocking any other; None without one."""
    things = [level.carrying, *(level.grid.get(*cell) for cell in _within_reach(level))]
    keys = {thing.color for thing in things if thing and thing.type == "key"}
    locked = (thing for thing in things if thing and thing.type == "door" and thing.is_locked)
    return next((door for door in locked if door.color in keys), None)


def _within_reach(level: Any) -> list[tuple[int, int]]:
    """Cells up to walls and locked doors, from near to far; things can be moved, and closed doors opened."""
    column, row = level.agent_pos
    cells = [(int(column), int(row))]
    for column, row in cells:
        cell = level.grid.get(column, row)
        if cell and (cell.type == "wall" or (cell.type == "door" and cell.is_locked)):
            continue
        beside = ((column + 1, row), (column, row + 1), (column - 1, row), (column, row - 1))
        cells += [other for other in beside if other not in cells]
    return cells


def _parts(instruction: Any) -> Iterator[Any]:
    yield instruction
    if _is_sequence(instruction):
        yield from _parts(instruction.instr_a)
        yield from _parts(instruction.instr_b)


def _is_sequence(instruction: Any) -> bool:
    return isinstance(instruction, SeqInstr)
