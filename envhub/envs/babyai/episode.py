"""One play of one level, said in text. Imports `minigrid`."""

from typing import Any, Final

from envhub.environment import Episode, ExpertMove, StepResult
from envhub.envs.babyai import text
from envhub.envs.babyai.expert import Expert
from envhub.envs.babyai.levels import kind
from envhub.envs.babyai.macros import CHECK, possible
from envhub.envs.babyai.world import World
from envhub.png import png

TILE: Final = 24
"""Pixels of a cell's side in a picture."""
_DIRECTIONS: Final = ("right", "down", "left", "up")
ENDINGS: Final = {
    "success": "The goal is reached.",
    "failure": "The goal can no longer be reached.",
    "truncated": "No steps are left.",
}


class BabyAIEpisode(Episode):
    """Reward 1 - 0.9 n / N at success, where n of N primitive steps are used; 0 for everything else.

    A text outside the grammar is malformed, an action that is not possible now is refused; neither takes a
    step.
    """

    def __init__(self, level: str, seed: int) -> None:
        self._name, self._seed = level, seed
        self._world = World(level, seed)
        self._expert = Expert(self._world)
        self._score = 0.0
        self._look()
        self._observation = f"Your goal: {self._world.mission}\n{self._seen()}"

    @property
    def observation(self) -> str:
        """What was shown last; the first observation alone tells the goal."""
        return self._observation

    def step(self, action: str) -> StepResult:
        """Play an action as the primitive moves that it stands for; it stops where the episode ends."""
        if self._world.is_over:
            return self._result()
        spelled = text.read(action)
        if spelled is None:
            self._observation = f'"{text.echo(action)}" is not an action.\n{text.available(self._plans)}'
            return self._result(is_malformed=True)
        if spelled == CHECK:
            listed = ", ".join(self._plans)
            self._observation = f"You can take the following actions: {listed}\n{text.available(self._plans)}"
        elif spelled not in self._plans:
            self._observation = f"{text.refusal(self._view, spelled)}\n{text.available(self._plans)}"
        else:
            self._play(spelled)
            return self._result(reward=self._world.reward)
        return self._result()

    def actions(self) -> tuple[str, ...]:
        """All that is possible now."""
        return () if self._world.is_over else tuple(self._plans)

    def expert(self) -> ExpertMove:
        """The next move of the package's bot, several of its moves in one action where the grammar allows."""
        return self._expert.next(self._view, self._plans)

    def render(self) -> str:
        """The whole grid as the package prints it: type and color of a thing, the agent as an arrow."""
        return f"{self._world.mission}\n{self._world.level.pprint_grid()}\n{self._observation}"

    def picture(self) -> bytes:
        """The whole grid; what the agent sees is brighter."""
        pixels = self._world.level.get_frame(highlight=True, tile_size=TILE)
        height, width, _ = pixels.shape
        return png(width, height, (row.tobytes() for row in pixels))

    def detail(self) -> dict[str, Any]:
        """Mission, level, seed, steps, what is carried and what is in sight."""
        level = self._world.level
        return {
            "mission": self._world.mission,
            "level": self._name,
            "kind": kind(self._name),
            "seed": self._seed,
            "direction": _DIRECTIONS[level.agent_dir],
            "position": [int(place) for place in level.agent_pos],
            "carrying": " ".join(self._world.carried or ()),
            "steps": int(level.step_count),
            "max_steps": int(level.max_steps),
            "objects": [
                {"name": thing.label, "forward": thing.forward, "right": thing.right}
                for thing in self._view.things
            ],
        }

    def _play(self, action: str) -> None:
        plan = self._plans[action]
        self._expert.begin(action)
        for primitive in plan:
            self._world.move(primitive)
            self._expert.follow(primitive)
            if self._world.is_over:
                break
        self._score += self._world.reward
        self._look()
        ending = ENDINGS.get(self._ending(), "")
        self._observation = f"{ending}\n{self._seen()}" if ending else self._seen()

    def _look(self) -> None:
        self._view = self._world.view()
        self._plans = possible(self._view)

    def _seen(self) -> str:
        return f"{text.describe(self._view)}\n{text.available(self._plans)}"

    def _ending(self) -> str:
        if self._world.is_terminated:
            return "success" if self._score > 0.0 else "failure"
        return "truncated" if self._world.is_truncated else ""

    def _result(self, reward: float = 0.0, is_malformed: bool = False) -> StepResult:
        return StepResult(
            observation=self._observation,
            reward=reward,
            is_terminated=self._world.is_terminated,
            is_truncated=self._world.is_truncated,
            is_success=self._ending() == "success",
            score=self._score,
            is_malformed=is_malformed,
        )
