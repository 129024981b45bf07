"""`textcraft_workshop`: one generated recipe book; the goals of the test split are unseen combinations of it.

Like Minecraft's own recipes, a shape is made alike from every material: whoever has learned how a ladder is
made of oak and of iron can make one of jade. A quarter of the combinations is never trained on.
"""

from functools import cache
from random import Random
from typing import Final

from common.action_format import checked
from envhub.environment import Environment, unknown_task
from envhub.envs.textcraft.episode import CraftingEpisode, CraftingTask
from envhub.envs.textcraft.recipes import Ingredient, Recipe, RecipeBook
from envhub.envs.textcraft.texts import FUNCTIONS, SHORT_RULES, instructions, vocabulary
from envhub.task import Split, Task, rank

MATERIALS: Final = tuple(
    [
        "amber",
        "birch",
        "bone",
        "brass",
        "bronze",
        "cedar",
        "copper",
        "coral",
        "gold",
        "granite",
        "iron",
        "ivory",
        "jade",
        "marble",
        "oak",
        "onyx",
        "pearl",
        "pine",
        "silver",
        "slate",
        "steel",
        "stone",
        "teak",
        "tin",
    ]
)
SHAPES: Final = {
    "rod": "1 raw",
    "plank": "2 raw",
    "plate": "3 raw",
    "ring": "1 raw, 1 string",
    "bowl": "2 raw, 1 clay",
    "frame": "1 raw, 2 string",
    "ladder": "1 rod, 2 string",
    "table": "1 plank, 1 raw",
    "shield": "1 plate, 1 raw",
    "chain": "1 ring, 2 raw",
    "lamp": "1 bowl, 1 wax",
    "mirror": "1 frame, 1 glass",
    "tower": "1 ladder, 2 raw",
    "bench": "1 table, 1 rod",
    "armor": "1 shield, 1 string",
    "anchor": "1 chain, 1 plate",
    "lantern": "1 lamp, 1 glass",
    "window": "1 mirror, 1 wax",
    "castle": "1 tower, 1 raw",
    "throne": "1 bench, 2 string",
    "ship": "1 anchor, 1 plank",
    "beacon": "1 lantern, 1 raw",
}
"""Shape -> what one piece takes; `raw` is the material itself, other shapes are of the same material."""
TEST_SHARE: Final = 0.25
MAX_DISTRACTORS: Final = 3
MAX_AMOUNT: Final = 20
"""The most pieces of one item that can be fetched."""


class WorkshopTextCraft(Environment):
    """528 goals, `d2-oak-ladder`; the seed chooses the distractors and the order of the commands."""

    name = "textcraft_workshop"
    horizon = 20
    functions = FUNCTIONS

    def tasks(self, split: Split) -> tuple[Task, ...]:
        """Goals in a frozen order by hash."""
        return tuple(task for task in _tasks().values() if task.split == split)

    def task(self, name: str) -> Task:
        """By name."""
        if name not in _tasks():
            raise unknown_task(self.name, name, "d2-oak-ladder")
        return _tasks()[name]

    def reset(self, task: str, seed: int) -> CraftingEpisode:
        """All recipes that lead to the goal and a few others, shuffled."""
        name = self.task(task).name
        goal = name[3:].replace("-", " ")
        return CraftingEpisode(CraftingTask(_book(), goal, _commands(name, goal, seed), MAX_AMOUNT))

    def instructions(self, action_format: str) -> str:
        """Empty for `plain`: the observation is the whole prompt of a small model."""
        return "" if checked(action_format) == "plain" else instructions(SHORT_RULES, action_format)

    def vocabulary(self) -> tuple[str, ...]:
        """About two hundred words."""
        names = (*_book().by_output, *_book().by_ingredient)
        return vocabulary(self, names, MAX_AMOUNT)


@cache
def _book() -> RecipeBook:
    return RecipeBook(
        tuple(
            Recipe(f"{material} {shape}", 1, _parts(material, needs))
            for material in MATERIALS
            for shape, needs in SHAPES.items()
        )
    )


def _parts(material: str, needs: str) -> tuple[Ingredient, ...]:
    parts = []
    for part in needs.split(", "):
        count, kind = part.split(" ")
        item = material if kind == "raw" else f"{material} {kind}" if kind in SHAPES else kind
        parts.append(Ingredient(item, int(count)))
    return tuple(parts)


@cache
def _tasks() -> dict[str, Task]:
    """Every goal by name, ordered by hash; the first of each depth are the test split."""
    book = _book()
    by_depth: dict[int, list[str]] = {}
    for item in book.by_output:
        depth = book.depth(item)
        by_depth.setdefault(depth, []).append(f"d{depth}-{item.replace(' ', '-')}")
    found: dict[str, Task] = {}
    for depth, names in by_depth.items():
        names.sort(key=lambda name: rank("textcraft_workshop", name))
        num_test = round(TEST_SHARE * len(names))
        for index, name in enumerate(names):
            found[name] = Task(name=name, split="test" if index < num_test else "train", depth=depth)
    return dict(sorted(found.items(), key=lambda entry: rank("textcraft_workshop", entry[0])))


def _commands(name: str, goal: str, seed: int) -> tuple[Recipe, ...]:
    """The goal's closure, and others of the same material or of the same shape."""
    # Random seeded with text hashes it by SHA-512: the same on every machine, whatever PYTHONHASHSEED is.
    random = Random(f"textcraft_workshop:{name}:{seed}")
    book = _book()
    needed = book.closure(goal)
    material, shape = goal.split(" ")
    alike = (f"{material} {other}" for other in SHAPES), (f"{other} {shape}" for other in MATERIALS)
    others = sorted({book.by_output[item][0] for items in alike for item in items} - set(needed))
    shown = [*needed, *random.sample(others, random.randint(1, MAX_DISTRACTORS))]
    random.shuffle(shown)
    return tuple(shown)
