"""What a reply of an AgentGym dialect can tell: one record, from which every reply is shaped.

An error is a view as well, with the message where the text would be: so a reply that says what went wrong
has every key that a reply without a mistake has.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

Shape = Callable[["View"], Any]
"""A view as the JSON value of a reply."""


@dataclass(frozen=True)
class View:
    """An id, the episode behind it, and what came of the last request."""

    id: int = 0
    environment: str = ""
    task: str = ""
    kind: str = ""
    opening: str = ""
    """The first observation of the episode."""
    observation: str = ""
    """What was shown last."""
    reward: float = 0.0
    """Of the last step, on the dialect's scale."""
    score: float = 0.0
    """So far, on the environment's own scale."""
    done: bool = False
    """Nothing more can be played: solved, lost, or out of turns, which few dialects tell apart."""
    truncated: bool = False
    deleted: bool = False
    """Always false: whoever can see a view has not closed its id."""
    moves: int = 0
    """Steps played."""
    is_closed: bool = False
    """The request closed an id that was open."""
    ids: tuple[int, ...] = ()
    """The caller's open ids, where callers are told apart."""
    actions: tuple[str, ...] = ()
    detail: Mapping[str, Any] = field(default_factory=dict)
    picture: bytes = b""
    error: str = ""
    """What went wrong, for people; empty when nothing did."""

    def told(self, name: str, otherwise: Any = "") -> Any:
        """A fact that the environment tells about its state."""
        return self.detail.get(name, otherwise)


def fields(*names: str, **renamed: str) -> Shape:
    """A JSON object: keys with the names of the view's own, and `key="name"` where they differ."""
    sources = {**{name: name for name in names}, **renamed}
    return lambda view: {key: getattr(view, source) for key, source in sources.items()}


def text(name: str) -> Shape:
    """A JSON value alone: one of the view's own."""
    return lambda view: getattr(view, name)


def constant(value: Any) -> Shape:
    """Always the same."""
    return lambda _: value
