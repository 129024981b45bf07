"""Which actions are possible now and the primitive moves that each stands for, by a search of the window.

Nothing but the agent moves, and paths keep to cells that are seen: a plan holds until it is played.
"""

from collections import deque
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from envhub.envs.babyai.view import AGENT, SIZE, Cell, Thing, View

LEFT, RIGHT, FORWARD, PICKUP, DROP, TOGGLE, WAIT = range(7)
"""The package's primitive actions; it calls the last one `done`."""

Plan = tuple[int, ...]
Pose = tuple[int, int, int]
"""Column, row, direction: 0 ahead, then clockwise."""

CHECK: Final = "check available actions"
_STEPS: Final = ((0, -1), (1, 0), (0, 1), (-1, 0))


def possible(view: View) -> dict[str, Plan]:
    """Every action that can be taken now, in the order in which they are shown; to check takes no move."""
    reach = _reach(tuple(view.is_free((c, r)) for r in range(SIZE) for c in range(SIZE)))
    plans: dict[str, Plan] = {"turn left": (LEFT,), "turn right": (RIGHT,)}
    if view.is_free((AGENT[0], AGENT[1] - 1)):
        plans["move forward"] = (FORWARD,)
    to_face = [(thing, _facing(reach, thing.cell)) for thing in view.things if thing.type != "goal"]
    for thing, path in to_face:
        if path is not None and thing.can_be_carried and view.carried is None:
            plans[f"pickup {thing.label}"] = (*path, PICKUP)
    if view.carried and view.type_at((AGENT[0], AGENT[1] - 1)) == "empty":
        plans["drop"] = (DROP,)
    for thing, path in to_face:
        if thing.type == "door":
            plans.update(_door_plans(view, reach, thing, path))
    if _can_toggle(view):
        plans["toggle"] = (TOGGLE,)
    goal = next((thing for thing in view.things if thing.type == "goal"), None)
    if goal and (path := _onto(reach, goal.cell)) is not None:
        plans["go to goal"] = path or (WAIT,)
    for thing, path in to_face:
        if path is not None:
            plans[f"go to {thing.label}"] = path or (WAIT,)
    plans[CHECK] = ()
    return plans


def _door_plans(view: View, reach: dict[Pose, Plan], door: Thing, path: Plan | None) -> dict[str, Plan]:
    if door.state == "open":
        onto = _onto(reach, door.cell)
        return {} if onto is None else {f"go through {door.label}": onto}
    if path is None or (door.state == "locked" and view.has_key_for != door.color):
        return {}
    return {f"toggle and go through {door.label}": (*path, TOGGLE, FORWARD)}


def _can_toggle(view: View) -> bool:
    """A door that would open or close, or a box with something in it: empty ones stay shut for good."""
    ahead = view.ahead
    if ahead is None:
        return False
    if ahead.type == "door":
        return ahead.state != "locked" or view.has_key_for == ahead.color
    return view.has_full_box


def _facing(reach: dict[Pose, Plan], cell: Cell) -> Plan | None:
    """The shortest way to stand beside the cell and look at it; None when there is none."""
    column, row = cell
    return _shortest(reach, ((column - dc, row - dr, d) for d, (dc, dr) in enumerate(_STEPS)))


def _onto(reach: dict[Pose, Plan], cell: Cell) -> Plan | None:
    return _shortest(reach, ((*cell, direction) for direction in range(4)))


def _shortest(reach: dict[Pose, Plan], poses: Iterable[Pose]) -> Plan | None:
    return min(
        (reach[pose] for pose in poses if pose in reach), key=lambda plan: (len(plan), plan), default=None
    )


@lru_cache(maxsize=128)
def _reach(is_free: tuple[bool, ...]) -> dict[Pose, Plan]:
    """The shortest plan to every pose that can be reached over free cells of the window, row by row."""
    start: Pose = (*AGENT, 0)
    plans: dict[Pose, Plan] = {start: ()}
    pending = deque([start])
    while pending:
        pose = pending.popleft()
        column, row, direction = pose
        step = _STEPS[direction]
        ahead = (column + step[0], row + step[1])
        turns = [(LEFT, (column, row, (direction - 1) % 4)), (RIGHT, (column, row, (direction + 1) % 4))]
        if 0 <= ahead[0] < SIZE and 0 <= ahead[1] < SIZE and is_free[ahead[1] * SIZE + ahead[0]]:
            turns.append((FORWARD, (*ahead, direction)))
        for move, there in turns:
            if there not in plans:
                plans[there] = (*plans[pose], move)
                pending.append(there)
    return plans
