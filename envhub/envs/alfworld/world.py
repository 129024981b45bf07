"""What never changes in a game: receptacles, things, their names, what fits where; made from a problem."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from envhub.envs.alfworld.problem import Expression, Fact, Problem

KNIVES = ("knifetype", "butterknifetype")
APPLIANCES = {"heat": "microwavetype", "clean": "sinkbasintype", "cool": "fridgetype"}
"""The kind of receptacle that each treatment needs, by the verb."""
TREATED = {"heat": "heatable", "clean": "cleanable", "cool": "coolable"}
"""What a thing must be for each treatment."""
_SIGNS = (("_bar_", "|"), ("_minus_", "-"), ("_plus_", "+"), ("_dot_", "."), ("_comma_", ","))


@dataclass(frozen=True)
class World:
    """Ids are those of the problem; everything that is listed is listed in the order of ids."""

    names: dict[str, str]
    """Of receptacles, things and locations, as the game shows them: `mug 2`."""
    facts: dict[str, frozenset[Fact]]
    """At the beginning, by predicate, without the predicate; and the objects of each type, by type."""
    goal: Expression
    receptacles: tuple[str, ...]
    locations: dict[str, str]
    """Of each receptacle."""
    residents: dict[str, tuple[str, ...]]
    """The receptacles at each location."""
    kinds: dict[str, str]
    """Of receptacles and things: `fridgetype`."""
    accepted: dict[str, frozenset[str]]
    """Kinds of things that fit into a kind of receptacle."""

    @cached_property
    def ids(self) -> dict[str, str]:
        """Receptacles and things by name."""
        return {self.names[identifier]: identifier for identifier in self.kinds}

    def has(self, flag: str, identifier: str) -> bool:
        """Whether a fact with one argument held at the beginning."""
        return (identifier,) in self.facts.get(flag, ())

    def fits(self, thing: str, receptacle: str) -> bool:
        """Whether the thing may be put there."""
        return self.kinds.get(thing) in self.accepted.get(self.kinds.get(receptacle, ""), ())

    def of_kind(self, kind: str) -> tuple[str, ...]:
        """Receptacles and things of a kind, in order."""
        return tuple(sorted(identifier for identifier, found in self.kinds.items() if found == kind))


def world_of(problem: Problem) -> World:
    """The world of a problem; ValueError for one that is not of this domain."""
    facts: dict[str, set[Fact]] = defaultdict(set)
    for predicate, *arguments in problem.facts:
        facts[predicate].add(tuple(arguments))
    for name, kind in problem.objects.items():
        facts[kind].add((name,))
    locations: dict[str, str] = {}
    residents: dict[str, list[str]] = defaultdict(list)
    for receptacle, location in sorted(facts["receptacleatlocation"]):
        if receptacle in locations:
            raise ValueError(f"receptacle {receptacle[:80]}: is at two locations")
        locations[receptacle] = location
        residents[location].append(receptacle)
    if not locations or len(facts["atlocation"]) != 1:
        raise ValueError("not an ALFWorld problem: no receptacles or no agent")
    accepted: dict[str, set[str]] = defaultdict(set)
    for receptacle_kind, kind in facts["cancontain"]:
        accepted[receptacle_kind].add(kind)
    return World(
        names=numbered({argument for fact in problem.facts for argument in fact[1:]}),
        facts={predicate: frozenset(found) for predicate, found in facts.items()},
        goal=problem.goal,
        receptacles=tuple(locations),
        locations=locations,
        residents={location: tuple(found) for location, found in residents.items()},
        kinds={fact[0]: fact[1] for fact in sorted(facts["receptacletype"] | facts["objecttype"])},
        accepted={kind: frozenset(found) for kind, found in accepted.items()},
    )


def numbered(identifiers: Iterable[str]) -> dict[str, str]:
    """Names as ALFWorld gives them: of each kind the ids in order, counted downwards to 1."""
    by_kind: dict[str, list[str]] = defaultdict(list)
    for identifier in sorted(identifiers):
        kind, bar, _ = identifier.partition("_bar_")
        if bar:
            by_kind[kind + "basin" * ("basin" in identifier)].append(identifier)
    return {
        identifier: f"{kind} {len(found) - index}"
        for kind, found in by_kind.items()
        for index, identifier in enumerate(found)
    }


def mangled(identifier: str) -> str:
    """An id of AI2-THOR, `Mug|+01.20|...`, as PDDL spells it."""
    for spelled, sign in _SIGNS:
        identifier = identifier.replace(sign, spelled)
    return identifier.lower()
