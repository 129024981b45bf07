"""The expert: the planner's way, said in as few actions as the grammar allows. Imports `minigrid`."""

from typing import Final

from envhub.environment import ExpertMove
from envhub.envs.babyai.macros import DROP, FORWARD, LEFT, RIGHT, TOGGLE, WAIT, Plan
from envhub.envs.babyai.planner import Planner, Pose, is_strict, whole_map
from envhub.envs.babyai.view import View
from envhub.envs.babyai.world import World

_PRIMITIVES: Final = {LEFT: "turn left", RIGHT: "turn right", FORWARD: "move forward", TOGGLE: "toggle", DROP: "drop"}
_STEPS: Final = ((1, 0), (0, 1), (-1, 0), (0, -1))
MAX_MOVES: Final = 400
"""Primitive moves after which a plan that explores gives way to one that knows the map."""


class Expert:
    """Keeps its plan while its moves are taken; plans anew after any other."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._planner: Planner | None = None
        self._move: ExpertMove | None = None

    def next(self, view: View, plans: dict[str, Plan]) -> ExpertMove:
        """The move now; the same when asked again."""
        if self._move is None:
            planner = self._planned()
            self._move = _spoken(planner, self._world, view, plans)
        return self._move

    def begin(self, action: str) -> None:
        """An action is about to be taken; a plan that did not mean it is given up."""
        if self._move is None or action != self._move.action:
            self._planner = None
        self._move = None

    def follow(self, primitive: int) -> None:
        """The world has taken a primitive move."""
        if self._planner and not self._world.is_over:
            self._planner.follow(primitive)

    def _planned(self) -> Planner:
        level = self._world.level
        planner = self._planner
        if planner is None or planner.is_lost:
            planner = Planner(level, whole_map(level) if is_strict(level) else planner and planner.seen)
        if planner.move in (None, WAIT) or planner.num_moves > MAX_MOVES:
            planner = Planner(level, whole_map(level))
        self._planner = planner
        return planner


def _spoken(planner: Planner, world: World, view: View, plans: dict[str, Plan]) -> ExpertMove:
    """The longest action that leads where the plan leads, or else its next primitive move."""
    poses, then = planner.ahead()
    column, row = world.level.agent_pos
    here: Pose = (int(column), int(row), int(world.level.agent_dir))
    best, best_length = "", 0
    for action, plan in plans.items():
        # A single move says nothing of where it leads: it is said when the plan has it next.
        length = 0 if action in _PRIMITIVES.values() else _length(plan, [here, *poses], then)
        if length > best_length:
            best, best_length = action, length
    if best:
        return ExpertMove(action=best, thought=_thought(best, planner.is_exploring))
    if planner.move == WAIT and view.ahead:
        return ExpertMove(action=f"go to {view.ahead.label}", thought=f"The {view.ahead.name} is in front of me.")
    action = _PRIMITIVES.get(-1 if planner.move is None else planner.move, "turn left")
    return ExpertMove(action=action, thought=_thought(action, planner.is_exploring))


def _length(plan: Plan, poses: list[Pose], then: int | None) -> int:
    """How many moves of the way the plan stands for; 0 when it leads elsewhere."""
    walk = tuple(move for move in plan if move in (LEFT, RIGHT, FORWARD))
    acts = tuple(move for move in plan if move not in (LEFT, RIGHT, FORWARD))
    if acts == (TOGGLE,) and plan[-1] == FORWARD:
        walk = walk[:-1]
    elif not plan or acts == (WAIT,):
        return 0
    end = _walked(poses[0], walk)
    if acts:
        return len(poses) + 1 if acts[0] == then and end == poses[-1] else 0
    # Turning round on the spot leads back to an earlier pose: only the last visit counts.
    last = max((index for index, pose in enumerate(poses) if pose == end), default=0)
    return last if len(walk) <= last else 0


def _walked(pose: Pose, walk: Plan) -> Pose:
    column, row, direction = pose
    for move in walk:
        if move == FORWARD:
            step = _STEPS[direction]
            column, row = column + step[0], row + step[1]
        else:
            direction = (direction + (1 if move == RIGHT else -1)) % 4
    return column, row, direction


def _thought(action: str, is_exploring: bool) -> str:
    verb, _, rest = action.partition(" ")
    name = rest.rpartition(" ")[0]
    if verb == "pickup":
        return f"I pick up the {name}."
    if verb == "go" and rest.startswith("to "):
        return f"I walk up to the {name.removeprefix('to ')}."
    if "through" in action:
        return "I have to go through the door."
    if verb == "toggle":
        return "I open what is in front of me."
    if verb == "drop":
        return "I put it down here."
    return "I have to look around." if is_exploring else "I am on my way."
