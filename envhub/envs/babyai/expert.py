"""The expert: the planner's way, said in as few actions as the grammar allows. Imports `minigrid`."""

from dataclasses import dataclass
from typing import Final

from envhub.environment import ExpertMove
from envhub.envs.babyai.macros import DROP, FORWARD, LEFT, PICKUP, RIGHT, TOGGLE, WAIT, Plan
from envhub.envs.babyai.mission import door_to_unlock, is_strict, whole_map
from envhub.envs.babyai.planner import Planner, Pose
from envhub.envs.babyai.view import View
from envhub.envs.babyai.world import World

_PRIMITIVES: Final = {
    LEFT: "turn left",
    RIGHT: "turn right",
    FORWARD: "move forward",
    TOGGLE: "toggle",
    DROP: "drop",
}
_WALKING: Final = (LEFT, RIGHT, FORWARD)
_STEPS: Final = ((1, 0), (0, 1), (-1, 0), (0, -1))
MAX_MOVES: Final = 400
"""Primitive moves after which a plan that explores gives way to one that knows the map."""


class Expert:
    """Keeps its plan while its moves are taken; plans anew after any other.

    First as one who sees what the agent sees, then, where that leads nowhere, as one who knows the map. Where
    nothing can be done it turns on the spot.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._planner: Planner | None = None
        self._move: ExpertMove | None = None
        self._has_given_up = False

    def next(self, view: View, plans: dict[str, Plan]) -> ExpertMove:
        """The move now; the same when asked again."""
        if self._move is None:
            planner = self._planned()
            self._move = _spoken(planner, self._world, view, plans)
        return self._move

    def begin(self, action: str) -> None:
        """An action is about to be taken; a plan that did not mean it is given up."""
        if self._move is None or action != self._move.action:
            self._planner, self._has_given_up = None, False
        self._move = None

    def follow(self, primitive: int) -> None:
        """The world has taken a primitive move."""
        if self._planner and not self._has_given_up and not self._world.is_over:
            self._planner.follow(primitive)

    def _planned(self) -> Planner:
        level = self._world.level
        planner = self._planner
        if planner and self._has_given_up:
            return planner
        if planner is None or planner.is_lost:
            planner = Planner(level, whole_map(level) if is_strict(level) else planner and planner.seen)
        if planner.move in (None, WAIT) or planner.num_moves > MAX_MOVES:
            planner = Planner(level, whole_map(level))
        if planner.move is None:
            planner = Planner(level, whole_map(level), door_to_unlock(level))
            self._has_given_up = planner.move is None
        self._planner = planner
        return planner


def _spoken(planner: Planner, world: World, view: View, plans: dict[str, Plan]) -> ExpertMove:
    """The longest action that leads where the plan leads, or else its next primitive move."""
    way = _Way(*planner.ahead(), world.pose, planner.is_exploring)
    lengths = {action: way.length(plan) for action, plan in plans.items()}
    best = max(lengths, key=lambda action: lengths[action])
    if not lengths[best]:
        best = _primitive(planner.move, view)
    thought = "I see no way." if planner.move is None else _thought(best, planner.is_exploring)
    return ExpertMove(action=best, thought=thought)


def _primitive(move: int | None, view: View) -> str:
    """The planner's next move alone; a wait, which ends a mission, is said as going to what is faced."""
    if move in (PICKUP, WAIT) and view.ahead:
        return f"{'pickup' if move == PICKUP else 'go to'} {view.ahead.label}"
    return _PRIMITIVES.get(WAIT if move is None else move, "turn left")


@dataclass(frozen=True)
class _Way:
    """What the planner means to do, up to the next sub-goal."""

    walk: Plan
    poses: list[Pose]
    end: Plan
    start: Pose
    is_exploring: bool

    def length(self, plan: Plan) -> int:
        """How many moves of the way an action's plan stands for; 0 when it leads elsewhere.

        Where something is looked for, another way would show other things: only the same walk counts.
        """
        walk, acts = _parted(plan)
        if acts:
            is_there = bool(walk and self.poses) and _walked(self.start, walk) == self.poses[-1]
            is_same = acts == self.end and (walk == self.walk or (is_there and not self.is_exploring))
            return len(self.walk) + len(acts) if is_same else 0
        # A single move says nothing of where it leads: it is said when no other action fits.
        if len(walk) < 2:
            return 0
        if self.is_exploring:
            return len(walk) if walk == self.walk[: len(walk)] else 0
        end = _walked(self.start, walk)
        last = max((index + 1 for index, pose in enumerate(self.poses) if pose == end), default=0)
        return last if len(walk) <= last else 0


def _parted(plan: Plan) -> tuple[Plan, Plan]:
    """The walk of a plan, and what is done at its end."""
    first = next((index for index, move in enumerate(plan) if move not in _WALKING), len(plan))
    return plan[:first], plan[first:]


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
