"""The expert: a plan from any inventory to the goal, by recursion over the shallowest recipes."""

from typing import Final

from common.errors import ConfigurationError
from envhub.environment import ExpertMove
from envhub.envs.textcraft.engine import MAX_AMOUNT, Inventory
from envhub.envs.textcraft.recipes import Ingredient, Recipe, RecipeBook

MAX_TURNS: Final = 500
"""Of a goal in a person's own recipes: where every layer doubles what the next one takes, many more."""


def next_move(book: RecipeBook, inventory: Inventory, goal: str) -> ExpertMove:
    """The first move of the plan from here; following it turn by turn reaches every goal of the book."""
    return _Plan(book, inventory).towards(goal)[0]


def num_turns(book: RecipeBook, goal: str) -> int:
    """The turns that the expert needs for the goal, from nothing.

    ConfigurationError for more than `MAX_TURNS`, and for more of one item than can be fetched.
    """
    return len(_Plan(book, {}, is_checked=True).towards(goal))


class _Plan:
    """Moves and the inventory they lead to, built by ensuring one need after another.

    Ensuring one ingredient can use up another that was already there (a shared intermediate), so the
    ingredients of a recipe are checked again until none is short. The book has no circles: this ends.
    """

    def __init__(self, book: RecipeBook, inventory: Inventory, *, is_checked: bool = False) -> None:
        self._book = book
        self._is_checked = is_checked
        self._held = dict(inventory)
        self._moves: list[ExpertMove] = []

    def towards(self, goal: str) -> list[ExpertMove]:
        """At least one move; the last one crafts the goal."""
        self._craft(self._best_recipe(goal), 1)
        return self._moves

    def _ensure(self, item: str, count: int) -> None:
        short = count - self._held.get(item, 0)
        if short <= 0:
            return
        if item in self._book.fetchable:
            if self._is_checked and count > MAX_AMOUNT:
                raise ConfigurationError(f"{count} {item[:60]} are needed at once; allowed are {MAX_AMOUNT}")
            self._move(f"get {short} {item}", f"I need {short} {item}.")
            self._held[item] = count
            return
        recipe = self._best_recipe(item)
        self._craft(recipe, -(-short // recipe.count))

    def _craft(self, recipe: Recipe, times: int) -> None:
        """Gather for all `times` crafts at once, then craft one after the other."""
        parts = self._choose(recipe)
        for remaining in range(times, 0, -1):
            while any(self._held.get(part.name, 0) < part.count * remaining for part in parts):
                for part in parts:
                    self._ensure(part.name, part.count * remaining)
            for part in parts:
                self._held[part.name] -= part.count
            self._held[recipe.output] = self._held.get(recipe.output, 0) + recipe.count
            self._move(str(Recipe(recipe.output, recipe.count, parts)), f"I can craft {recipe.output}.")

    def _choose(self, recipe: Recipe) -> tuple[Ingredient, ...]:
        """An item for every ingredient: of a group, a member that is held in full, else the easiest."""
        chosen: list[Ingredient] = []
        for part in recipe.ingredients:
            free = [m for m in self._book.members(part.name) if all(m != other.name for other in chosen)]
            held = [member for member in free if self._held.get(member, 0) >= part.count]
            easiest = min(free, key=lambda member: (self._book.depth(member), member))
            chosen.append(Ingredient(held[0] if held else easiest, part.count))
        return tuple(chosen)

    def _best_recipe(self, item: str) -> Recipe:
        """The shallowest recipe, then the one with the fewest pieces; ties by the book's order."""

        def cost(recipe: Recipe) -> tuple[int, int]:
            depth = max(self._book.depth(part.name) for part in recipe.ingredients)
            return depth, sum(part.count for part in recipe.ingredients)

        return min(self._book.by_output[item], key=cost)

    def _move(self, action: str, thought: str) -> None:
        if self._is_checked and len(self._moves) == MAX_TURNS:
            raise ConfigurationError(f"a goal takes more than {MAX_TURNS} turns")
        self._moves.append(ExpertMove(action=action, thought=thought))
