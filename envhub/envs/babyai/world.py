"""The package's side: a level that has been generated, one primitive move at a time. Imports `minigrid`."""

import os
from typing import Any

# pygame, which the package draws with, would greet on standard output.
os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")

import gymnasium
import minigrid  # noqa: F401  registers the levels
from minigrid.envs.babyai.core import roomgrid_level

from envhub.envs.babyai.view import View


def _silent(*_: object) -> None:
    """The package's generator prints every draft that it rejects, on standard output."""


vars(roomgrid_level)["print"] = _silent


class World:
    """One generated level and what happened in it so far."""

    def __init__(self, level: str, seed: int) -> None:
        self.level: Any = gymnasium.make(level, disable_env_checker=True).unwrapped
        shown, _ = self.level.reset(seed=seed)
        self._image = shown["image"]
        self.reward = 0.0
        self.is_terminated = False
        self.is_truncated = False

    def move(self, primitive: int) -> None:
        """Take one primitive action."""
        shown, reward, self.is_terminated, is_cut, _ = self.level.step(primitive)
        self._image = shown["image"]
        self.reward = float(reward)
        self.is_truncated = is_cut and not self.is_terminated

    @property
    def is_over(self) -> bool:
        """The level has ended, or its steps are used up."""
        return self.is_terminated or self.is_truncated

    @property
    def mission(self) -> str:
        """The goal in words."""
        return str(self.level.mission)

    @property
    def carried(self) -> tuple[str, str] | None:
        """Color and type of what is carried."""
        thing = self.level.carrying
        return (thing.color, thing.type) if thing else None

    @property
    def pose(self) -> tuple[int, int, int]:
        """Column, row and the package's direction."""
        column, row = self.level.agent_pos
        return int(column), int(row), int(self.level.agent_dir)

    def view(self) -> View:
        """What is seen now."""
        ahead = self.level.grid.get(*self.level.front_pos)
        has_full_box = ahead is not None and ahead.type == "box" and ahead.contains is not None
        return View(self._image.tolist(), self.carried, has_full_box)
