"""Rewards of any scale, paid so that they sum to at most 1 over an episode; and what is told of success."""

from collections.abc import Mapping
from typing import Any


class Credit:
    """Keeps the raw sum as `score` and pays the changes of its value from 0 to 1; a success is worth 1."""

    def __init__(self) -> None:
        self.score = 0.0
        self._paid = 0.0

    def earn(self, raw: float, *, is_success: bool = False) -> float:
        """The reward of this turn for a raw one; negative where the score fell."""
        self.score += raw
        worth = 1.0 if is_success else min(max(self.score, 0.0), 1.0)
        reward, self._paid = worth - self._paid, worth
        return reward


def told_success(about: Mapping[str, Any]) -> bool | None:
    """What an environment itself says about success beside its observation; None when it says nothing."""
    for key in ("is_success", "success"):
        if key in about:
            return bool(about[key])
    return None
