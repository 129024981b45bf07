"""`textcraft`: craft Minecraft items from their real recipes among distracting ones."""

from functools import cache
from random import Random

from envhub.environment import unknown_task
from envhub.envs.textcraft.engine import MAX_AMOUNT
from envhub.envs.textcraft.episode import CraftingEpisode, CraftingTask
from envhub.envs.textcraft.minecraft import minecraft_book
from envhub.envs.textcraft.minecraft_tasks import goal_of, minecraft_tasks
from envhub.envs.textcraft.recipes import Recipe, RecipeBook
from envhub.envs.textcraft.texts import RULES, instructions, vocabulary
from envhub.task import Split, Task

MAX_DISTRACTORS = 10


class TextCraft:
    """544 goals in the recipes of Minecraft; the seed chooses the distractors and the order of commands."""

    name = "textcraft"
    horizon = 60
    """The expert's longest way takes 48 turns."""

    def __init__(self) -> None:
        self._book = minecraft_book()
        self._tasks = minecraft_tasks()

    def tasks(self, split: Split) -> tuple[Task, ...]:
        """Goals in a frozen order by hash."""
        return tuple(task for task in self._tasks.values() if task.split == split)

    def task(self, name: str) -> Task:
        """By name, `textcraft_oak_boat`."""
        if name not in self._tasks:
            raise unknown_task(self.name, name, "textcraft_oak_boat")
        return self._tasks[name]

    def reset(self, task: str, seed: int) -> CraftingEpisode:
        """All recipes that can lead to the goal, at most `MAX_DISTRACTORS` others, shuffled."""
        goal = goal_of(self.task(task))
        return CraftingEpisode(CraftingTask(self._book, goal, _commands(self._book, goal, seed)))

    def instructions(self, action_format: str) -> str:
        """The rules of the game and the form of an answer."""
        return instructions(RULES, action_format)

    def vocabulary(self) -> tuple[str, ...]:
        """The words of all items and templates, and every number that can be held."""
        return _vocabulary()


@cache
def _vocabulary() -> tuple[str, ...]:
    book = minecraft_book()
    names = (*book.by_output, *book.by_ingredient, *book.groups, f"{book.prefix}_")
    return vocabulary(names, RULES, MAX_AMOUNT)


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
