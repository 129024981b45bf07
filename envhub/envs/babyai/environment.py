"""`babyai`: reach a goal given in words in a building of rooms; the levels of the package `minigrid`."""

from typing import TYPE_CHECKING, Final

from envhub.environment import Environment, out_of_range, prompt_words, unknown_task
from envhub.envs.babyai import levels, text
from envhub.envs.babyai.view import COLORS, DOOR_STATES, TYPES
from envhub.instructions import instructions
from envhub.packages import needs
from envhub.task import Split, Task

if TYPE_CHECKING:
    from envhub.envs.babyai.episode import BabyAIEpisode

VERSION: Final = "3.2.0"
"""Of `minigrid`: another one would build other rooms from the same seeds."""
_EXAMPLE: Final = "BabyAI-GoToObj-v0-seed17"

# Every sentence and word of missions, observations and the expert, without what they fill in.
_TEMPLATES: Final = """Your goal: go to the a pick up open put next to, then and after you
in front of you behind you on your left right object
In front of you in this room, you can see several objects: There is a . The room has walls around you.
right in front of you steps away. steps in front of you and steps to your left.
You are facing a wall box. You are carrying a . You are not carrying anything. Available actions: ["", ""]
The goal is reached. The goal can no longer be reached. No steps are left.
I pick up the . I walk up to the . I have to go through the door. I open what is in front of me.
I put it down here. I see no way. I have to look around. I am on my way. The is in front of me."""
_MAX_NUMBER: Final = 50


class BabyAI(Environment):
    """AgentGym's 40 levels in the splits, every other BabyAI level by name; the task fixes the episode."""

    name = "babyai"
    horizon = 200
    functions = text.FUNCTIONS
    source = (
        f"levels of minigrid {VERSION} by the Farama Foundation (Apache-2.0 by its LICENSE file, MIT by its "
        "metadata)"
    )

    def __init__(self) -> None:
        needs("minigrid", VERSION)

    def tasks(self, split: Split) -> tuple[Task, ...]:
        """The 40 levels with 50 seeds for training and 5 for testing, without those of `excluded.txt`."""
        return levels.listed(split)

    def task(self, name: str) -> Task:
        """By name or AgentGym id."""
        found = levels.read(name)
        if found is None:
            raise unknown_task(self.name, name, _EXAMPLE, self._near())
        return levels.task(*found)

    def indexed(self, index: int) -> Task:
        """Level `index % 40` of AgentGym's forty with seed `index // 40`."""
        found = levels.indexed(index)
        if found is None:
            raise out_of_range(self.name, index, levels.num_indexed())
        return levels.task(*found)

    def reset(self, task: str, seed: int) -> "BabyAIEpisode":
        """The level that the package generates from the seed in the task's name; `seed` changes nothing."""
        found = levels.read(self.task(task).name)
        assert found is not None
        # The package is imported with the first episode: listing environments costs nothing.
        from envhub.envs.babyai.episode import BabyAIEpisode

        return BabyAIEpisode(*found)

    def instructions(self, action_format: str) -> str:
        """What the world is like, and its actions."""
        return instructions(text.RULES, text.FUNCTIONS, action_format)

    def vocabulary(self) -> tuple[str, ...]:
        """About two hundred words, and the numbers of things and of steps."""
        numbers = " ".join(map(str, range(_MAX_NUMBER + 1)))
        return tuple(sorted(prompt_words(self, [_TEMPLATES, numbers, *COLORS, *DOOR_STATES, *TYPES])))

    def _near(self) -> tuple[str, ...]:
        return tuple(levels.task_name(level, 0) for level in levels.known())
