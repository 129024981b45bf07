"""`textcraft_generated`: the same game over small worlds made from a number, one-word items, short texts."""

import re
from functools import cache, lru_cache

from common.action_format import checked
from envhub.environment import Environment, unknown_task
from envhub.envs.textcraft.episode import CraftingEpisode, CraftingTask
from envhub.envs.textcraft.texts import FUNCTIONS, SHORT_RULES, instructions, vocabulary
from envhub.envs.textcraft.worlds import MAX_DEPTH, WORDS, World, make_world
from envhub.task import Split, Task

NUM_TRAIN = 4096
"""Listed training worlds of each depth."""
NUM_TEST = 256
"""Listed test worlds of each depth."""
FIRST_TEST_NUMBER = 900_000
"""World numbers below belong to the train split, from here on to the test split, listed or not."""
MAX_AMOUNT = 99
"""The most pieces of one item that can be fetched: every number shown is a word of the vocabulary."""

_NAME = re.compile(rf"d([1-{MAX_DEPTH}])-([0-9]{{6}})")


class GeneratedTextCraft(Environment):
    """A million worlds of each depth; the task is the world, and the seed changes nothing."""

    name = "textcraft_generated"
    horizon = 30
    functions = FUNCTIONS

    def tasks(self, split: Split) -> tuple[Task, ...]:
        """The listed worlds, depth by depth in turn."""
        return () if split == "unseen" else _tasks(split)

    def task(self, name: str) -> Task:
        """Any world, listed or not: `d2-000123` is world 123 of depth 2."""
        match = _NAME.fullmatch(name)
        if match is None:
            raise unknown_task(self.name, name, "d2-000123")
        return _task(int(match[1]), int(match[2]))

    def reset(self, task: str, seed: int) -> CraftingEpisode:
        """The episode of that world; `seed` is not used."""
        found = self.task(task)
        world = _world(found.depth, int(found.name[3:]))
        return CraftingEpisode(CraftingTask(world.book, world.goal, world.order, MAX_AMOUNT))

    def instructions(self, action_format: str) -> str:
        """Empty for `plain`: the observation is the whole prompt of a small model."""
        return "" if checked(action_format) == "plain" else instructions(SHORT_RULES, action_format)

    def vocabulary(self) -> tuple[str, ...]:
        """A few hundred words."""
        return vocabulary(self, WORDS, MAX_AMOUNT)


# The members of a group play the same world at the same time.
@lru_cache(maxsize=1024)
def _world(depth: int, number: int) -> World:
    return make_world(depth, number)


@cache
def _tasks(split: Split) -> tuple[Task, ...]:
    first, count = (0, NUM_TRAIN) if split == "train" else (FIRST_TEST_NUMBER, NUM_TEST)
    return tuple(_task(depth, first + offset) for offset in range(count) for depth in range(1, MAX_DEPTH + 1))


def _task(depth: int, number: int) -> Task:
    split: Split = "train" if number < FIRST_TEST_NUMBER else "test"
    return Task(name=f"d{depth}-{number:06d}", split=split, depth=depth)
