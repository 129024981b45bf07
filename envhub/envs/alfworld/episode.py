"""One play of a household task: actions as text, at most so many turns as the original allows."""

from typing import Any

from common.errors import ConfigurationError
from envhub.environment import Episode, ExpertMove, StepResult
from envhub.envs.alfworld import sights
from envhub.envs.alfworld.commands import command
from envhub.envs.alfworld.game import NOTHING, Game
from envhub.envs.alfworld.planner import aim_of, next_move
from envhub.task import Task

MAX_TURNS = 50
"""The original's limit."""
REFUSAL = f"{NOTHING} That is not an action; help lists them."


class HouseholdEpisode(Episode):
    """Reward 1 and termination when the goal is met; cut after `MAX_TURNS` actions, whatever they were."""

    def __init__(self, task: Task, game: Game) -> None:
        self._task = task
        self._game = game
        self._observation = game.opening
        self._num_turns = 0
        self._looked_into: set[str] = set()

    @property
    def observation(self) -> str:
        """What was shown last."""
        return self._observation

    def step(self, action: str) -> StepResult:
        """Play one action in any known spelling; when it is over nothing changes."""
        if self._is_over:
            return self._result(0.0, False)
        read = command(action)
        self._observation = self._game.step(read) if read else REFUSAL
        self._num_turns += 1
        self._remember()
        return self._result(float(self._game.is_won), read is None)

    def actions(self) -> tuple[str, ...]:
        """Every admissible action, sorted; none when it is over."""
        return () if self._is_over else self._game.commands()

    def expert(self) -> ExpertMove:
        """The first move of a shortest plan; it knows what lies where.

        ConfigurationError in a game of the original whose goal or state is beyond the planner.
        """
        state = self._game.state
        aim = aim_of(state.world.goal)
        move = next_move(state, aim) if aim else None
        if move is None:
            raise ConfigurationError(f"task {self._task.name}: the expert has no plan from here")
        return move

    def render(self) -> str:
        """All receptacles with what is in them, where the agent stands and what it holds."""
        state = self._game.state
        here = set(state.here())
        lines = [self._task.name, f"turn {self._num_turns} of {MAX_TURNS}", sights.inventory(state)]
        for place in state.world.receptacles:
            names = ", ".join(self._name(thing) for thing in state.contents(place)) or "-"
            closed = "" if state.is_open(place) else " (closed)"
            lines.append(f"{'>' if place in here else ' '} {self._name(place)}{closed}: {names}")
        return "\n".join([*lines, "", self._observation])

    def detail(self) -> dict[str, Any]:
        """Where the agent is, what it holds, and the places with what it has seen in them."""
        state = self._game.state
        return {
            "task_type": self._task.name if "/" in self._task.name else self._task.name.replace("-", "/", 1),
            "kind": self._task.kind,
            "turn": self._num_turns,
            "max_turns": MAX_TURNS,
            "location": [self._name(place) for place in state.here()],
            "holding": [self._name(thing) for thing in sorted(state.held)],
            "receptacles": [self._receptacle(place) for place in state.world.receptacles],
            "available_actions": list(self.actions()),
        }

    def close(self) -> None:
        """Give the engine back."""
        self._game.close()

    @property
    def _is_over(self) -> bool:
        return self._game.is_won or self._num_turns >= MAX_TURNS

    def _result(self, reward: float, is_malformed: bool) -> StepResult:
        is_won = self._game.is_won
        return StepResult(
            observation=self._observation,
            reward=reward,
            is_terminated=is_won,
            is_truncated=self._is_over and not is_won,
            is_success=is_won,
            score=float(is_won),
            is_malformed=is_malformed,
        )

    def _remember(self) -> None:
        state = self._game.state
        self._looked_into.update(place for place in state.here() if state.is_open(place))

    def _receptacle(self, place: str) -> dict[str, Any]:
        state = self._game.state
        is_known = place in self._looked_into
        return {
            "name": self._name(place),
            "is_openable": state.world.has("openable", place),
            "is_open": state.is_open(place),
            "contents": [self._name(thing) for thing in state.contents(place)] if is_known else None,
        }

    def _name(self, identifier: str) -> str:
        return self._game.state.world.names[identifier]
