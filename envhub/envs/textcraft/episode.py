"""One play of a crafting task: the commands, the goal and the inventory."""

from dataclasses import dataclass
from typing import Any

from envhub.environment import Episode, ExpertMove, StepResult
from envhub.envs.textcraft.engine import MAX_AMOUNT, Inventory, describe, match_recipe, play
from envhub.envs.textcraft.expert import next_move
from envhub.envs.textcraft.recipes import Ingredient, Recipe, RecipeBook


@dataclass(frozen=True)
class CraftingTask:
    """What an episode needs: the rules, the goal, and the commands that are shown, in order."""

    book: RecipeBook
    goal: str
    commands: tuple[Recipe, ...]
    max_amount: int = MAX_AMOUNT

    @property
    def shown_commands(self) -> str:
        """The commands, one a line."""
        return "\n".join(str(recipe) for recipe in self.commands)

    def describe(self) -> str:
        """The first observation."""
        return f"Crafting commands:\n{self.shown_commands}\n\nGoal: craft {self.goal}."


class CraftingEpisode(Episode):
    """Reward 1 and termination when the goal is crafted, 0 before; the score is the reward so far."""

    def __init__(self, task: CraftingTask) -> None:
        self._task = task
        self._inventory: Inventory = {}
        self._is_done = False
        self._observation = task.describe()

    @property
    def observation(self) -> str:
        """What was shown last."""
        return self._observation

    def step(self, action: str) -> StepResult:
        """Play one action; after termination nothing changes."""
        if self._is_done:
            return StepResult(observation=self._observation, is_terminated=True, is_success=True, score=1.0)
        reply = play(self._task.book, self._inventory, action, self._task.max_amount)
        self._inventory = reply.inventory
        self._is_done = reply.crafted == self._task.goal
        self._observation = reply.text
        reward = float(self._is_done)
        return StepResult(
            observation=reply.text,
            reward=reward,
            is_terminated=self._is_done,
            is_success=self._is_done,
            score=reward,
            is_malformed=reply.is_malformed,
        )

    def actions(self) -> tuple[str, ...]:
        """What the shown commands suggest: crafts that would succeed now, fetching, `inventory`."""
        book = self._task.book
        gets: dict[str, None] = {}
        crafts: dict[str, None] = {}
        for recipe in self._task.commands:
            for part in recipe.ingredients:
                if part.name in book.fetchable:
                    gets.setdefault(f"get {part.count} {part.name}")
            if (parts := self._concrete(recipe)) is not None:
                crafts.setdefault(str(Recipe(recipe.output, recipe.count, parts)))
        return (*crafts, *gets, "inventory")

    def expert(self) -> ExpertMove:
        """The next move of a plan from the present inventory."""
        return next_move(self._task.book, self._inventory, self._task.goal)

    def render(self) -> str:
        """Goal, depth, inventory and the last reply."""
        state = "crafted" if self._is_done else "not crafted"
        depth = self._task.book.depth(self._task.goal)
        goal = f"Goal: {self._task.goal} (depth {depth}), {state}"
        return f"{goal}\n{describe(self._inventory)}\n\n{self._observation}"

    def detail(self) -> dict[str, Any]:
        """The goal and its depth, the commands as they were shown, and what is held."""
        return {
            "goal": self._task.goal,
            "depth": self._task.book.depth(self._task.goal),
            "commands": self._task.shown_commands,
            "inventory": dict(self._inventory),
        }

    def _concrete(self, recipe: Recipe) -> tuple[Ingredient, ...] | None:
        """The recipe's ingredients as items that are held in full; None when one is short."""
        chosen = []
        for part in recipe.ingredients:
            members = self._task.book.members(part.name)
            held = next((item for item in members if self._inventory.get(item, 0) >= part.count), None)
            if held is None:
                return None
            chosen.append(Ingredient(held, part.count))
        parts = tuple(chosen)
        return parts if match_recipe(self._task.book, recipe.output, parts) else None
