"""How one kind of AgentGym server talks: its paths, the keys of its requests, the form of its replies."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from envhub.agentgym.view import Shape, View

Verb = Literal["create", "reset", "step", "close", "look", "preview", "greet"]
"""`look` reads an episode, `preview` before the first reset that of task 0, `greet` needs no id."""
Reward = Callable[[Mapping[str, Any], float], float]
"""The reward of a step from its result and from the score before it."""


def per_turn(result: Mapping[str, Any], _: float) -> float:
    """The environment's reward of the turn."""
    return float(result["reward"])


def gained(result: Mapping[str, Any], before: float) -> float:
    """What the turn added to the score."""
    return float(result["score"]) - before


def lost_is_minus_one(result: Mapping[str, Any], _: float) -> float:
    """1 at the goal; -1 when the turns ran out, as LMRL-Gym's maze has it."""
    is_over = result["is_terminated"] or result["is_truncated"]
    return -1.0 if is_over and not result["is_success"] else float(result["reward"])


@dataclass(frozen=True)
class Operation:
    """What a path does, and the form of its answer."""

    verb: Verb
    shape: Shape
    asks: tuple[str, ...] = ()
    """What the episode is asked beside: `actions`, `detail`, `picture`."""

    def answer(self, view: View) -> Any:
        """The reply for a view; an object that answers a mistake says so under `error`."""
        reply = self.shape(view)
        return {**reply, "error": view.error} if view.error and isinstance(reply, dict) else reply


@dataclass(frozen=True)
class Dialect:
    """A table: everything in which AgentGym's servers differ."""

    name: str
    operations: Mapping[str, Operation]
    """Path below the base URL -> operation; the empty path is the base URL itself."""
    id_keys: tuple[str, ...] = ("id", "env_idx")
    """Names that the id may have in a request; the first is the dialect's own."""
    task_keys: tuple[str, ...] = ("data_idx",)
    """Names that the task may have in a reset."""
    default_task: int | None = None
    """The index of a reset that names no task; None: every reset must."""
    reward: Reward = per_turn
    opens_at_create: bool = False
    """A new id plays task 0 until its first reset."""
    prefixes: tuple[str, ...] = ()
    """Paths before the environment's name below which its clients know it too."""
