"""What changes in a game; made from facts, so that the state of any engine can be one."""

from collections import defaultdict
from collections.abc import Collection, Iterable

from envhub.envs.alfworld.problem import Fact
from envhub.envs.alfworld.world import World

CHANGING = ("isclean", "ishot", "iscool", "istoggled", "issliced", "opened")
"""Predicates with one argument that actions change."""


class State:
    """Mutable; owned by one game."""

    def __init__(self, world: World, facts: Iterable[Fact]) -> None:
        """Facts with their predicates; only those that can change are looked at."""
        self.world = world
        self.location = ""
        self.held: set[str] = set()
        self.flags: dict[str, set[str]] = {name: set() for name in CHANGING}
        self.inside: dict[str, set[str]] = defaultdict(set)
        """The things in each receptacle."""
        self.left: dict[str, set[str]] = defaultdict(set)
        """The things that were taken out of each receptacle and not put back."""
        self.nearby: dict[str, set[str]] = defaultdict(set)
        """The things at each location."""
        for predicate, *arguments in facts:
            match predicate:
                case "atlocation":
                    self.location = arguments[1]
                case "holds":
                    self.held.add(arguments[1])
                case "inreceptacle":
                    self.inside[arguments[1]].add(arguments[0])
                case "not_inreceptacle":
                    self.left[arguments[1]].add(arguments[0])
                case "objectatlocation":
                    self.nearby[arguments[1]].add(arguments[0])
                case _ if predicate in self.flags:
                    self.flags[predicate].add(arguments[0])

    def facts(self, predicate: str) -> Collection[Fact]:
        """Every fact of a predicate that holds now, without the predicate."""
        match predicate:
            case "atlocation":
                agents = self.world.facts["atlocation"]
                return [(agent, self.location) for agent, _ in agents]
            case "holds":
                return [(agent, thing) for agent, _ in self.world.facts["atlocation"] for thing in self.held]
            case "inreceptacle":
                return [(thing, receptacle) for receptacle, found in self.inside.items() for thing in found]
            case "objectatlocation":
                return [(thing, location) for location, found in self.nearby.items() for thing in found]
        if predicate in self.flags:
            return [(identifier,) for identifier in self.flags[predicate]]
        return self.world.facts.get(predicate, frozenset())

    def has(self, flag: str, identifier: str) -> bool:
        """Whether a fact with one argument holds now."""
        if flag in self.flags:
            return identifier in self.flags[flag]
        return self.world.has(flag, identifier)

    def here(self) -> tuple[str, ...]:
        """The receptacles within reach."""
        return self.world.residents.get(self.location, ())

    def is_open(self, receptacle: str) -> bool:
        """Whether its inside can be seen and reached."""
        return not self.world.has("openable", receptacle) or receptacle in self.flags["opened"]

    def contents(self, receptacle: str) -> list[str]:
        """The things in it, in order."""
        return sorted(self.inside.get(receptacle, ()))

    def reachable(self) -> list[tuple[str, str]]:
        """Every thing that can be seen or taken here, with its receptacle."""
        return [
            (thing, place) for place in self.here() if self.is_open(place) for thing in self.contents(place)
        ]
