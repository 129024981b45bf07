"""The package's bot as a planner from any state: within bounds, and without its known blind spots.

The bot is made for fresh levels. Here it plans what is left of the mission, and is started with what is
carried already. Its loops are bounded by how often one replanning may push a sub-goal: a loop that never
ends pushes for ever, and a count is the same on every machine, which a clock is not.
"""

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from minigrid.envs.babyai.core.verifier import (
    AfterInstr,
    OpenInstr,
    PickupInstr,
    PutNextInstr,
    SeqInstr,
)
from minigrid.utils.baby_ai_bot import BabyAIBot, DisappearedBoxError, DropSubgoal, GoNextToSubgoal

from envhub.envs.babyai.macros import FORWARD, LEFT, RIGHT, TOGGLE

MAX_PUSHES: Final = 200
"""Sub-goals that one replanning may push."""
MAX_AHEAD: Final = 40
"""Moves that `ahead` looks into the future."""

Pose = tuple[int, int, int]
"""Absolute column and row, and the package's direction."""

# What the bot raises when its assumptions do not hold, and what its bounded stack raises.
_FAILURES = (AssertionError, TypeError, ValueError, IndexError, KeyError, DisappearedBoxError, RecursionError)


class Planner:
    """The next primitive moves for what is left of the mission.

    planner = Planner(level, seen)
    while planner.move is not None:
        ...                            # take planner.move, or another move, in the level
        planner.follow(that_move)
    """

    def __init__(self, level: Any, seen: Any = None) -> None:
        self._level = level
        self._bot = BabyAIBot(level)
        self._bot.stack = _Stack()
        if seen is not None:
            self._bot.vis_mask |= seen
        self.num_moves = 0
        self.is_lost = False
        self.move = self._guarded(self._begin)

    @property
    def seen(self) -> Any:
        """Which cells of the level have been seen, bool [width, height]."""
        return self._bot.vis_mask

    @property
    def is_exploring(self) -> bool:
        """Whether the next move is for finding something."""
        return any(goal.is_exploratory() for goal in self._bot.stack)

    def follow(self, primitive: int) -> None:
        """The level has taken this move; plan the next.

        On the way somewhere another way is as good. Anything else that was not planned makes the plan `is_lost`.
        """
        self.num_moves += 1
        if primitive != self.move and not self._is_walking(primitive):
            self.is_lost = True
        if self.is_lost:
            self._bot._process_obs()
            return
        taken = None if primitive == self.move else primitive
        self.move = self._guarded(lambda: self._bot.replan(taken))

    def ahead(self) -> tuple[list[Pose], int | None]:
        """The poses that the plan leads through, and the move after the last: what else than walking is next.

        Ends where a sub-goal is reached. Leaves the level and the plan as they were.
        """
        kept = self._kept()
        move, num_goals = self.move, self._num_goals()
        poses: list[Pose] = []
        while move in (LEFT, RIGHT, FORWARD) and len(poses) < MAX_AHEAD and self._walk(move):
            column, row = self._level.agent_pos
            poses.append((int(column), int(row), int(self._level.agent_dir)))
            move = self._guarded(lambda: self._bot.replan(None))
            if self._num_goals() < num_goals:
                break
        if self._num_goals() < num_goals and move in (LEFT, RIGHT, FORWARD):
            move = None
        self._restore(kept)
        return poses, move

    def _begin(self) -> Any:
        self._bot._process_obs()
        todo = list(_left(self._level.instrs))
        for instruction in reversed(todo[1:]):
            self._bot._process_instr(instruction)
        if todo:
            self._push_first(todo[0])
        return self._bot.replan()

    def _push_first(self, instruction: Any) -> None:
        """The instruction to carry out now, given what is carried."""
        bot, carried = self._bot, self._level.carrying
        if isinstance(instruction, PutNextInstr) and carried in instruction.desc_move.obj_set:
            bot.stack.append(DropSubgoal(bot))
            bot.stack.append(GoNextToSubgoal(bot, instruction.desc_fixed, reason="PutNext"))
            return
        bot._process_instr(instruction)
        boxes = [box for box in self._full_boxes() if isinstance(instruction, OpenInstr)]
        for box in boxes:
            bot.stack.append(_OpenBox(bot))
            bot.stack.append(GoNextToSubgoal(bot, box))
        if carried and (isinstance(instruction, PickupInstr | PutNextInstr) or carried in boxes):
            bot.stack.append(DropSubgoal(bot))
            bot.stack.append(GoNextToSubgoal(bot, bot._find_drop_pos()))

    def _full_boxes(self) -> list[Any]:
        things = [*self._level.grid.grid, self._level.carrying]
        return [thing for thing in things if thing and thing.type == "box" and thing.contains]

    def _guarded(self, plan: Any) -> int | None:
        """The move that `plan` returns; None when the bot is at its end."""
        self._bot.stack.num_pushes = 0
        try:
            return int(plan())
        except _FAILURES:
            return None

    def _is_walking(self, primitive: int) -> bool:
        goals = self._bot.stack
        return primitive in (LEFT, RIGHT, FORWARD) and bool(goals) and isinstance(goals[-1], GoNextToSubgoal)

    def _num_goals(self) -> int:
        return sum(not goal.is_exploratory() for goal in self._bot.stack)

    def _walk(self, move: int) -> bool:
        """Change the agent's pose alone; False when the way is blocked."""
        level = self._level
        if move != FORWARD:
            level.agent_dir = (level.agent_dir + (1 if move == RIGHT else -1)) % 4
            return True
        cell = level.grid.get(*level.front_pos)
        if cell is not None and not cell.can_overlap():
            return False
        level.agent_pos = tuple(level.front_pos)
        return True

    def _kept(self) -> tuple[Any, ...]:
        state = {**vars(self._bot), "vis_mask": self._bot.vis_mask.copy()}
        return self._level.agent_pos, self._level.agent_dir, list(self._bot.stack), state

    def _restore(self, kept: tuple[Any, ...]) -> None:
        self._level.agent_pos, self._level.agent_dir, goals, state = kept
        vars(self._bot).update(state)
        self._bot.stack[:] = goals
        for goal in goals:
            goal.update_agent_attributes()


class _Stack(list[Any]):
    """The bot's sub-goals; RecursionError when one replanning pushes too many."""

    num_pushes = 0

    def append(self, goal: Any) -> None:
        self.num_pushes += 1
        if self.num_pushes > MAX_PUSHES:
            raise RecursionError(f"{MAX_PUSHES} sub-goals in one replanning")
        super().append(goal)


class _OpenBox:
    """A sub-goal of ours for the bot's stack: open the box ahead, which the bot itself never does."""

    def __init__(self, bot: Any) -> None:
        self._bot = bot

    def update_agent_attributes(self) -> None:
        """Nothing is remembered."""

    def replan_before_action(self) -> int:
        """Toggle."""
        return TOGGLE

    def replan_after_action(self, action_taken: int | None) -> None:
        """Done when the suggestion was taken."""
        if action_taken is None:
            self._bot.stack.pop()

    def is_exploratory(self) -> bool:
        """Needed whatever has been seen."""
        return False


def whole_map(level: Any) -> Any:
    """`seen` for a planner that knows every cell from the start."""
    return np.ones((level.width, level.height), dtype=bool)


def is_strict(level: Any) -> bool:
    """Whether a wrong first attempt fails the mission, so that trying things out is not allowed."""
    return any(getattr(instruction, "strict", False) for instruction in _parts(level.instrs))


def _parts(instruction: Any) -> Iterator[Any]:
    yield instruction
    if isinstance(instruction, SeqInstr):
        yield from _parts(instruction.instr_a)
        yield from _parts(instruction.instr_b)


def _left(instruction: Any) -> Iterator[Any]:
    """The simple instructions that are still to be carried out, in order."""
    if not isinstance(instruction, SeqInstr):
        yield instruction
        return
    first, second = (instruction.instr_a, instruction.a_done), (instruction.instr_b, instruction.b_done)
    if isinstance(instruction, AfterInstr):
        first, second = second, first
    for part, state in (first, second):
        if state != "success":
            yield from _left(part)
