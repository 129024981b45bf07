"""One play of a task in a world of the simulator."""

import re
from collections.abc import Iterable
from itertools import islice, zip_longest
from typing import Any, Final

from envhub.environment import Episode, ExpertMove, StepResult
from envhub.envs.sciworld.expert import Guide, gold_path
from envhub.envs.sciworld.jvm import shared_jvm
from envhub.envs.sciworld.rooms import drawn, object_tree, room_map, room_of
from envhub.envs.sciworld.texts import BROKEN, FUNCTIONS, NO_MATCH, canonical, cleaned
from envhub.envs.sciworld.world import World

MAX_TURNS: Final = 300
"""The longest path of an expert, in genetics and friction, takes about 180."""
MAX_ACTION: Final = 300
"""The simulator's parser is not made for long texts; no action of an expert has more than about 110."""
MAX_HINTS: Final = 100

_GOAL = re.compile(r"[0-9]+\t(true|false)\t\s*\w*\t(.*)")


class SciWorldEpisode(Episode):
    """The score is the simulator's, 0 to 100, or -100 when lost; reward is a hundredth of its change."""

    def __init__(self, task: str, variation: int) -> None:
        self._task, self._variation = task, variation
        self._world = World(shared_jvm(), task, variation)
        self._description = self._world.description()
        look = self._world.step("look around").text
        self._first_room = room_of(look)
        self._observation = f"{self._description}\n{look}"
        self._turns: list[tuple[str, str]] = []
        self._guide: Guide | None = None
        self._score = 0
        self._is_terminated = self._is_truncated = False

    @property
    def observation(self) -> str:
        """What was shown last."""
        return self._observation

    def step(self, action: str) -> StepResult:
        """Take one action, an alias or the number of a choice; SimulatorError when the simulator is gone."""
        before = self._score
        if not self._is_terminated and not self._is_truncated:
            self._play(cleaned(action))
        return StepResult(
            observation=self._observation,
            reward=(self._score - before) / 100,
            is_terminated=self._is_terminated,
            is_truncated=self._is_truncated,
            is_success=self._is_terminated and self._score == 100,
            score=float(self._score),
            is_malformed=self._observation == NO_MATCH,
        )

    def _play(self, action: str) -> None:
        self._observation = NO_MATCH
        if 0 < len(action) <= MAX_ACTION:
            outcome = self._world.step(action)
            self._observation = outcome.text
            if outcome.score < 0 and self._world.is_broken():
                self._observation, self._is_truncated = BROKEN, True
            elif outcome.text != NO_MATCH or outcome.is_completed:
                # What the simulator pays for the beginning alone comes with the first action that it takes.
                self._score, self._is_terminated = outcome.score, outcome.is_completed
        self._turns.append((action, self._observation))
        if self._guide is not None:
            self._guide.took(action, self._observation)
        if len(self._turns) >= MAX_TURNS and not self._is_terminated:
            self._is_truncated = True

    def actions(self) -> tuple[str, ...]:
        """Up to `MAX_HINTS` that the simulator would take now, of each kind of action in turn."""
        return hints(self._world.valid_actions())

    def expert(self) -> ExpertMove:
        """The next action of the simulator's path, made at the first call, or the way back to it."""
        if self._guide is None:
            self._guide = Guide(gold_path(self._task, self._variation), self._first_room)
            for action, reply in self._turns:
                self._guide.took(action, reply)
        return self._guide.move(self._world.look, self._observation)

    def render(self) -> str:
        """The task, the building, what is carried and seen, and the last reply."""
        detail = self.detail()
        return (
            f"{self._task}, variation {self._variation}; score {self._score}\n{self._description}\n\n"
            f"{drawn(detail['rooms'])}\n\n{detail['inventory']}\n\n{detail['look']}\n\n{self._observation}"
        )

    def detail(self) -> dict[str, Any]:
        """Also what AgentGym's endpoints show; sub-goals only once they are reached."""
        tree, look = object_tree(self._world.tree()), self._world.look()
        return {
            "task_name": self._task,
            "variation": self._variation,
            "task_description": self._description,
            "score": self._score,
            "turns": len(self._turns),
            "moves": self._world.moves(),
            "look": look,
            "inventory": self._world.inventory(),
            "goals": reached_goals(self._world.goals()),
            "possible_actions": self._world.templates(),
            "possible_objects": self._world.objects(),
            "object_tree": tree,
            "room": room_of(look),
            "rooms": room_map(tree, room_of(look)),
        }

    def close(self) -> None:
        """Let the JVM have its memory back."""
        self._world.release()


def hints(valid: Iterable[str]) -> tuple[str, ...]:
    """Some of the valid actions: at most `MAX_HINTS`, of which a third join or part two things."""
    simple: dict[str, list[str]] = {function.name: [] for function in FUNCTIONS}
    paired: dict[str, list[str]] = {function.name: [] for function in FUNCTIONS}
    for action in map(canonical, valid):
        call = FUNCTIONS.call(action)
        # Nearly everything can be parted from nothing.
        is_paired = len(call.arguments) > 1 or call.function_name == "disconnect"
        (paired if is_paired else simple)[call.function_name].append(action)
    num_paired = MAX_HINTS // 3
    return (*_in_turn(simple, MAX_HINTS - num_paired), *_in_turn(paired, num_paired))


def _in_turn(by_kind: dict[str, list[str]], limit: int) -> list[str]:
    """The first of every kind, the second of every kind, and so on; shown kind by kind."""
    rounds = zip_longest(*by_kind.values())
    chosen = {action for action in islice((a for row in rounds for a in row if a), limit)}
    return [action for actions in by_kind.values() for action in actions if action in chosen]


def reached_goals(table: str) -> str:
    """How many of the simulator's sub-goals are reached, and which; the others would give the answer away."""
    rows = [match.groups() for line in table.splitlines() if (match := _GOAL.match(line))]
    reached = [what.strip() for is_reached, what in rows if is_reached == "true"]
    return "\n".join([f"{len(reached)} of {len(rows)} sub-goals reached", *reached])
