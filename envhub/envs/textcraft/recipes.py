"""Recipes: what is made of what. An immutable book with one acyclic graph."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

MAX_LAYERS = 60
"""Recipes upon recipes: each layer takes several calls of Python's stack, here and in the expert."""


@dataclass(frozen=True, order=True)
class Ingredient:
    """`count` pieces of one item, or of one member of a group of items ("planks": oak, birch, ...)."""

    name: str
    count: int


@dataclass(frozen=True, order=True)
class Recipe:
    """Using up the ingredients makes `count` pieces of `output`."""

    output: str
    count: int
    ingredients: tuple[Ingredient, ...]

    def __str__(self) -> str:
        parts = ", ".join(f"{part.count} {part.name}" for part in self.ingredients)
        return f"craft {self.count} {self.output} using {parts}"


@dataclass(frozen=True)
class RecipeBook:
    """Every recipe of a world; ValueError when an item would be needed to make itself, and for one that
    stands upon more than `MAX_LAYERS` others.

    An item that some recipe makes can only be crafted; an item that recipes only use can be fetched.
    A group can be neither: it is asked for by name and satisfied by any one of its members.
    """

    recipes: tuple[Recipe, ...]
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Group name -> its members, sorted; only members that recipes make."""
    prefix: str = ""
    """Namespace shown in the reply to a craft, with underscores: `minecraft:oak_planks`."""

    def __post_init__(self) -> None:
        for item in self.by_output:
            self.depth(item)

    @cached_property
    def by_output(self) -> dict[str, tuple[Recipe, ...]]:
        """Item -> the recipes that make it, in the book's order; sorted by item."""
        table: dict[str, list[Recipe]] = {}
        for recipe in self.recipes:
            table.setdefault(recipe.output, []).append(recipe)
        return {item: tuple(table[item]) for item in sorted(table)}

    @cached_property
    def by_ingredient(self) -> dict[str, tuple[Recipe, ...]]:
        """Item or group -> the recipes that use it."""
        table: dict[str, list[Recipe]] = {}
        for recipe in self.recipes:
            for part in recipe.ingredients:
                table.setdefault(part.name, []).append(recipe)
        return {name: tuple(table[name]) for name in sorted(table)}

    @cached_property
    def fetchable(self) -> frozenset[str]:
        """Items that `get` finds: used by recipes, made by none."""
        return frozenset(self.by_ingredient) - frozenset(self.by_output) - frozenset(self.groups)

    @cached_property
    def _depths(self) -> dict[str, int]:
        return {}

    @cached_property
    def _above(self) -> list[str]:
        """What is being measured, each an ingredient of the one before it."""
        return []

    def depth(self, name: str) -> int:
        """Layers of crafting below an item or group by its shallowest recipe; 0 for what can be fetched."""
        known = self._depths.get(name)
        if known == -1:
            raise ValueError(f"{name[:60]}: its recipes form a circle")
        if known is None:
            self._depths[name] = -1
            self._above.append(name)
            # What has been measured before counts in the sum alone.
            known = self._measure(name) if len(self._above) <= MAX_LAYERS + 1 else MAX_LAYERS + 1
            if known > MAX_LAYERS:
                raise ValueError(f"{name[:60]}: more than {MAX_LAYERS} layers of recipes")
            self._above.pop()
            self._depths[name] = known
        return known

    def _measure(self, name: str) -> int:
        if name in self.groups:
            return min(self.depth(member) for member in self.groups[name])
        recipes = self.by_output.get(name, ())
        return min((1 + max(self.depth(part.name) for part in r.ingredients) for r in recipes), default=0)

    def members(self, name: str) -> tuple[str, ...]:
        """The items that satisfy an ingredient of this name: itself, or the members of the group."""
        return self.groups.get(name, (name,))

    def closure(self, goal: str) -> tuple[Recipe, ...]:
        """Every recipe that can play a part in making `goal`, without repetition, goal first."""
        found: dict[Recipe, None] = {}
        seen: set[str] = set()
        pending = [goal]
        while pending:
            item = pending.pop(0)
            if item in seen:
                continue
            seen.add(item)
            for recipe in self.by_output.get(item, ()):
                found.setdefault(recipe)
                pending.extend(member for part in recipe.ingredients for member in self.members(part.name))
        return tuple(found)


def without_circles(recipes: Iterable[Recipe], groups: Mapping[str, tuple[str, ...]]) -> tuple[Recipe, ...]:
    """The recipes in order, without those that close a circle with earlier ones (ingots, nuggets, ingots)."""
    uses: dict[str, set[str]] = {name: set(members) for name, members in groups.items()}
    kept = []
    for recipe in recipes:
        if any(_reaches(part.name, recipe.output, uses) for part in recipe.ingredients):
            continue
        uses.setdefault(recipe.output, set()).update(part.name for part in recipe.ingredients)
        kept.append(recipe)
    return tuple(kept)


def _reaches(start: str, target: str, uses: Mapping[str, set[str]]) -> bool:
    seen: set[str] = set()
    pending = [start]
    while pending:
        name = pending.pop()
        if name == target:
            return True
        if name not in seen:
            seen.add(name)
            pending.extend(uses.get(name, ()))
    return False
