"""What the engines have done in all, out of counters that begin again with every life of an actor."""

from collections.abc import Mapping
from dataclasses import astuple, dataclass
from operator import add, sub

from common.messages import Heartbeat


@dataclass(frozen=True)
class EngineWork:
    """Work of engines, summed over actors."""

    generated_tokens: int = 0
    generation_s: float = 0.0
    """In which an engine held at least one request."""
    paused_s: float = 0.0
    """In which generation stood still for a weight update."""

    def __add__(self, other: "EngineWork") -> "EngineWork":
        return EngineWork(*map(add, astuple(self), astuple(other)))

    def __sub__(self, other: "EngineWork") -> "EngineWork":
        return EngineWork(*map(sub, astuple(self), astuple(other)))

    @property
    def is_possible(self) -> bool:
        """False when any of it is negative: then it is no work but a counter that began again."""
        return all(value >= 0 for value in astuple(self))


class EngineCounters:
    """Adds up what each actor's counters gained between two sightings; never goes back.

    The first sighting of an actor is its baseline: what it did before, another learner has counted. When
    any counter of an actor went back, the actor started again and all of them count from zero.
    """

    def __init__(self) -> None:
        self.total = EngineWork()
        """Of all actors since the first sighting of each."""
        self._seen: dict[str, EngineWork] = {}

    def observe(self, heartbeats: Mapping[str, Heartbeat]) -> None:
        """Take in the last heartbeat of each actor, by name; the same one again changes nothing."""
        for actor, beat in heartbeats.items():
            now = EngineWork(beat.generated_tokens, beat.generation_s, beat.paused_s)
            gained = now - self._seen.get(actor, now)
            self.total += gained if gained.is_possible else now
            self._seen[actor] = now
