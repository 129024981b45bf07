"""The package's bot as a planner from any state: within bounds, and without its known blind spots.

The bot is made for fresh levels. Here it plans what is left of the mission, and is started with what is
carried already. Its loops are bounded by how often one replanning may push a sub-goal: a loop that never
ends pushes for ever, and a count is the same on every machine, which a clock is not.
"""

from typing import Any, Final

import numpy as np
from minigrid.envs.babyai.core.verifier import OpenInstr, PickupInstr, PutNextInstr
from minigrid.utils.baby_ai_bot import (
    BabyAIBot,
    DisappearedBoxError,
    DropSubgoal,
    GoNextToSubgoal,
    OpenSubgoal,
)

from envhub.envs.babyai.macros import FORWARD, LEFT, RIGHT, TOGGLE, WAIT, Plan
from envhub.envs.babyai.mission import still_to_do

MAX_PUSHES: Final = 200
"""Sub-goals that one replanning may push."""
MAX_AHEAD: Final = 40
"""Moves that `ahead` looks into the future."""

Pose = tuple[int, int, int]
"""Absolute column and row, and the package's direction."""

# The package's own annotations stop short of the bot.
_BOT: Any = BabyAIBot
_WALKING: Final = (LEFT, RIGHT, FORWARD)
# What the bot raises when its assumptions do not hold, and what its bounded stack raises.
_FAILURES = (AssertionError, TypeError, ValueError, IndexError, KeyError, DisappearedBoxError, RecursionError)


class Planner:
    """The next primitive moves for what is left of the mission.

    planner = Planner(level, seen)
    while planner.move is not None:
        ...                            # take planner.move, or another move, in the level
        planner.follow(that_move)
    """

    def __init__(self, level: Any, seen: Any = None, door: Any = None) -> None:
        """`seen` is what is known of the map before; `door` is to be unlocked first."""
        self._level, self._door = level, door
        self._bot = _BOT(level)
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

        On the way somewhere another way is as good. Anything else that was not planned makes `is_lost` true.
        """
        self.num_moves += 1
        if primitive != self.move and not self._is_walking(primitive):
            self.is_lost = True
        if self.is_lost:
            self._bot._process_obs()
            return
        taken = None if primitive == self.move else primitive
        self.move = self._guarded(lambda: self._bot.replan(taken))

    def ahead(self) -> tuple[Plan, list[Pose], Plan]:
        """The walk that is planned, the pose after each of its moves, and what is done at its end.

        The end is where a sub-goal is reached; what is done there is one move, or the opening of a door and
        the step into it, or nothing. Leaves the level and the plan as they were.
        """
        kept = self._kept()
        move, num_goals = self.move, self._num_goals()
        walk: list[int] = []
        poses: list[Pose] = []
        while (
            move in _WALKING
            and len(poses) < MAX_AHEAD
            and self._num_goals() >= num_goals
            and self._walk(move)
        ):
            column, row = self._level.agent_pos
            walk.append(move)
            poses.append((int(column), int(row), int(self._level.agent_dir)))
            move = self._guarded(lambda: self._bot.replan(None))
        end = () if move is None or move in _WALKING else self._end(move)
        self._restore(kept)
        return tuple(walk), poses, end

    def _end(self, move: int) -> Plan:
        """The move, and the step into a doorway where opening it is followed by that or ends the mission."""
        door = self._level.grid.get(*self._level.front_pos)
        if move != TOGGLE or door is None or door.type != "door" or door.is_open:
            return (move,)
        was_locked = door.is_locked
        door.is_open, door.is_locked = True, False
        after = self._guarded(lambda: self._bot.replan(None))
        door.is_open, door.is_locked = False, was_locked
        return (TOGGLE, FORWARD) if after in (FORWARD, WAIT) else (TOGGLE,)

    def _begin(self) -> Any:
        self._bot._process_obs()
        todo = list(still_to_do(self._level.instrs))
        for instruction in reversed(todo[1:]):
            self._bot._process_instr(instruction)
        if todo:
            self._push_first(todo[0])
        if self._door is not None:
            self._push_unlocking(self._door)
        return self._bot.replan()

    def _push_first(self, instruction: Any) -> None:
        """The instruction to carry out now, given what is carried."""
        bot, carried = self._bot, self._level.carrying
        if isinstance(instruction, PutNextInstr) and carried in instruction.desc_move.obj_set:
            bot.stack.append(DropSubgoal(bot))
            bot.stack.append(GoNextToSubgoal(bot, instruction.desc_fixed, reason="PutNext"))
            return
        bot._process_instr(instruction)
        boxes = self._full_boxes() if isinstance(instruction, OpenInstr) else []
        for box in boxes:
            if box is not carried:
                bot.stack.append(_OpenBox(bot))
                bot.stack.append(GoNextToSubgoal(bot, tuple(int(place) for place in box.cur_pos)))
        if carried is None or not (isinstance(instruction, PickupInstr | PutNextInstr) or carried in boxes):
            return
        door = self._locked_door(carried)
        if door is None:
            bot.stack.append(DropSubgoal(bot))
            bot.stack.append(GoNextToSubgoal(bot, bot._find_drop_pos()))
        else:
            self._push_unlocking(door)

    def _push_unlocking(self, door: Any) -> None:
        """Fetch the key where it is not carried, open the door, drop the key."""
        self._bot.stack.append(OpenSubgoal(self._bot, reason="Unlock"))
        self._bot.stack.append(GoNextToSubgoal(self._bot, door, reason="Open"))

    def _locked_door(self, carried: Any) -> Any:
        """A door in sight or remembered that the carried key unlocks; None when there is none."""
        seen = [self._level.grid.get(*cell) for cell in zip(*np.nonzero(self.seen), strict=True)]
        doors = (thing for thing in seen if thing and thing.type == "door" and thing.is_locked)
        return next((door for door in doors if carried.type == "key" and door.color == carried.color), None)

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
        return primitive in _WALKING and bool(goals) and isinstance(goals[-1], GoNextToSubgoal)

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
