"""Generated recipe worlds: a depth and a number determine every recipe. The dials are the constants."""

from dataclasses import dataclass
from random import Random
from typing import Final

from envhub.envs.textcraft.recipes import Ingredient, Recipe, RecipeBook

MAX_DEPTH = 4
NUM_INGREDIENTS = (1, 2)
"""Fewest and most kinds of ingredient in a recipe."""
FETCHED_COUNT = (1, 3)
"""Fewest and most pieces of an ingredient that is fetched."""
CRAFTED_COUNT = (1, 1)
"""Fewest and most pieces of an ingredient that must be crafted."""
BRANCHING = 0.25
"""Chance that a further ingredient of a recipe is crafted too, where the depth allows."""
REUSE = 0.3
"""Chance that a fetched ingredient is one the world already uses."""
NUM_DISTRACTORS = (1, 3)
"""Fewest and most recipes that the goal does not need."""

_POOL: Final = """
amber anvil apple arrow axe barrel basket bead bell belt blade boat bolt bone book bowl box brick
bucket candle cart chain clay cloth coal coin copper crown cup dart dish door drum dust feather
fence flag flint flour flute gate gear gem glass glue gold hammer harp helmet hook horn iron ivory
jar jewel kettle key kite ladder lamp lantern leaf lens lever mask needle net oil paper pearl pipe
plank plate pot powder ring rod rope sail salt sand seed shell shield silk
"""
WORDS: Final = tuple(_POOL.split())
"""One-word item names; none is a word of the templates."""


@dataclass(frozen=True)
class World:
    """A book of recipes and the goal at the top of it; `order` is how the commands are shown."""

    book: RecipeBook
    goal: str
    order: tuple[Recipe, ...]


def make_world(depth: int, number: int) -> World:
    """The world of that depth and number, the same on every machine; its goal has exactly that depth."""
    # Random seeded with text hashes it by SHA-512, independent of PYTHONHASHSEED.
    return _Builder(Random(f"textcraft_generated:{depth}:{number}")).build(depth)


class _Builder:
    def __init__(self, random: Random) -> None:
        self._random = random
        self._unused = random.sample(WORDS, len(WORDS))
        self._fetched: list[str] = []
        self._recipes: list[Recipe] = []

    def build(self, depth: int) -> World:
        goal = self._crafted(depth)
        for _ in range(self._random.randint(*NUM_DISTRACTORS)):
            self._distractor(goal)
        order = self._random.sample(self._recipes, len(self._recipes))
        return World(RecipeBook(tuple(sorted(order))), goal, tuple(order))

    def _crafted(self, depth: int) -> str:
        """A new item of exactly this depth, with all that it needs."""
        output = self._unused.pop()
        kinds = self._random.randint(*NUM_INGREDIENTS)
        parts = [self._part(depth - 1)]
        for _ in range(kinds - 1):
            is_crafted = depth > 1 and self._random.random() < BRANCHING
            parts.append(self._part(self._random.randint(1, depth - 1) if is_crafted else 0, parts))
        self._random.shuffle(parts)
        self._recipes.append(Recipe(output, 1, tuple(parts)))
        return output

    def _part(self, depth: int, beside: list[Ingredient] | None = None) -> Ingredient:
        if depth > 0:
            return Ingredient(self._crafted(depth), self._random.randint(*CRAFTED_COUNT))
        taken = {part.name for part in beside or ()}
        known = [name for name in self._fetched if name not in taken]
        if known and self._random.random() < REUSE:
            name = self._random.choice(known)
        else:
            name = self._unused.pop()
            self._fetched.append(name)
        return Ingredient(name, self._random.randint(*FETCHED_COUNT))

    def _distractor(self, goal: str) -> None:
        """A recipe that the goal does not need; its output is new, so no circle closes."""
        output = self._unused.pop()
        names = sorted({*self._fetched, *(recipe.output for recipe in self._recipes)} - {goal})
        kinds = min(len(names), self._random.randint(*NUM_INGREDIENTS))
        parts = (
            Ingredient(name, self._random.randint(*FETCHED_COUNT))
            for name in self._random.sample(names, kinds)
        )
        self._recipes.append(Recipe(output, 1, tuple(parts)))
