"""The expert: a shortest plan from any state, knowing where everything is."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import permutations

from envhub.environment import ExpertMove
from envhub.envs.alfworld.goal import atoms
from envhub.envs.alfworld.problem import Expression
from envhub.envs.alfworld.state import State
from envhub.envs.alfworld.world import APPLIANCES, TREATED

_VERBS = {"isclean": "clean", "ishot": "heat", "iscool": "cool"}
_KNOWN = {
    *("objecttype", "receptacletype", "inreceptacle", "holds", "atlocation", "receptacleatlocation"),
    *("objectatlocation", "toggleable", "istoggled", "=", *_VERBS, *TREATED.values()),
}
THOUGHTS = {
    "find": "I need the {0}, and it is at the {1}.",
    "open": "The {0} is closed.",
    "take": "The {0} is here.",
    "appliance": "The {0} has to be treated, and the {1} can do that.",
    "treat": "With the {1} I can treat the {0}.",
    "bring": "The {0} belongs to the {1}.",
    "put": "This is the place for the {0}.",
    "free": "I need a free hand, and the {0} can stay at the {1}.",
    "lamp": "The {0} is at the {1}.",
    "use": "I need the light of the {0}.",
    "done": "The task is done.",
}


@dataclass(frozen=True)
class Aim:
    """What a goal of one of the six kinds asks for; kinds are types of the problem."""

    thing: str
    receptacle: str = ""
    """Where it must lie; empty when it must be held under a lamp."""
    lamp: str = ""
    treatment: str = ""
    """`isclean`, `ishot` or `iscool`."""
    count: int = 1


@lru_cache(4096)
def aim_of(goal: Expression) -> Aim | None:
    """The aim of a goal; None for a goal of another kind."""
    found = atoms(goal)
    types = {atom[1]: atom[2] for atom in found if atom[0] == "objecttype"}
    lamps = {types.pop(atom[1], "") for atom in found if atom[0] == "istoggled"}
    receptacles = {atom[2] for atom in found if atom[0] == "receptacletype"}
    treatments = {atom[0] for atom in found if atom[0] in _VERBS}
    is_known = {atom[0] for atom in found} <= _KNOWN and len(set(types.values())) == 1
    if not is_known or len(lamps) + len(receptacles) != 1 or len(treatments) > 1:
        return None
    return Aim(
        thing=min(types.values()),
        receptacle=min(receptacles, default=""),
        lamp=min(lamps, default=""),
        treatment=min(treatments, default=""),
        count=len(types),
    )


def next_move(state: State, aim: Aim) -> ExpertMove | None:
    """The first move of a shortest plan; None when there is no plan from here."""
    plans = [plan.moves for plan in _plans(state, aim) if plan.is_possible]
    if not plans:
        return None
    shortest = min(plans, key=len)
    return shortest[0] if shortest else ExpertMove(action="look", thought=THOUGHTS["done"])


def _plans(state: State, aim: Aim) -> "Iterator[_Plan]":
    """One plan for every choice of things and of the place or the lamp."""
    things = [
        thing
        for thing in state.world.of_kind(aim.thing)
        if thing in state.held or (state.world.has("pickupable", thing) and _place_of(state, thing))
    ]
    for lamp in state.world.of_kind(aim.lamp) if aim.lamp else ():
        for thing in things:
            plan = _Plan(state)
            plan.fetch(thing)
            plan.light(lamp)
            yield plan
    for place in state.world.of_kind(aim.receptacle) if aim.receptacle else ():
        there = [
            thing
            for thing in state.inside[place]
            if thing in things and (not aim.treatment or state.has(aim.treatment, thing))
        ]
        others = [thing for thing in things if thing not in there]
        for chosen in permutations(others, max(0, aim.count - len(there))):
            plan = _Plan(state)
            for thing in chosen:
                plan.bring(thing, place, aim.treatment)
            yield plan


def _place_of(state: State, thing: str) -> str:
    return next((place for place in state.world.receptacles if thing in state.inside[place]), "")


class _Plan:
    """Moves, and what they would change, beside the state, which stays as it is."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._world = state.world
        self._location = state.location
        self._opened: set[str] = set()
        self._held = next(iter(sorted(state.held)), "")
        self.moves: list[ExpertMove] = []
        self.is_possible = True

    def fetch(self, thing: str) -> None:
        """Hold the thing."""
        if self._held == thing:
            return
        if self._held:
            self._free_hand()
        place = _place_of(self._state, thing)
        if not place:
            self.is_possible = False
            return
        self._reach(place, "find", thing, place)
        self._open(place)
        self._add("take {0} from {1}", "take", thing, place)
        self._held = thing

    def bring(self, thing: str, place: str, treatment: str) -> None:
        """Treat the thing where that is needed, and put it into the place."""
        self.fetch(thing)
        if treatment and not self._state.has(treatment, thing):
            self._treat(thing, _VERBS[treatment])
        self.is_possible &= self._world.fits(thing, place)
        self._reach(place, "bring", thing, place)
        self._open(place)
        self._add("move {0} to {1}", "put", thing, place)
        self._held = ""

    def light(self, lamp: str) -> None:
        """Stand at the lamp while it is on."""
        place = _place_of(self._state, lamp)
        self.is_possible &= bool(place) and self._world.has("toggleable", lamp)
        if self.is_possible:
            self._reach(place, "lamp", lamp, place)
            if not self._state.has("istoggled", lamp):
                self._add("use {0}", "use", lamp)

    def _treat(self, thing: str, verb: str) -> None:
        appliances = self._world.of_kind(APPLIANCES[verb])
        self.is_possible &= bool(appliances) and self._world.has(TREATED[verb], thing)
        if self.is_possible:
            nearest = min(appliances, key=lambda place: self._world.locations[place] != self._location)
            self._reach(nearest, "appliance", thing, nearest)
            self._add(f"{verb} {{0}} with {{1}}", "treat", thing, nearest)

    def _free_hand(self) -> None:
        """Put down what is held at the nearest place that takes it."""
        held = self._held
        places = [place for place in self._world.receptacles if self._world.fits(held, place)]
        if not places:
            self.is_possible = False
            return
        nearest = min(
            places, key=lambda p: (self._world.locations[p] != self._location) + (not self._is_open(p))
        )
        self._reach(nearest, "free", held, nearest)
        self._open(nearest)
        self._add("move {0} to {1}", "free", held, nearest)
        self._held = ""

    def _is_open(self, place: str) -> bool:
        return place in self._opened or self._state.is_open(place)

    def _reach(self, place: str, thought: str, *about: str) -> None:
        location = self._world.locations[place]
        if location != self._location:
            self._location = location
            names = [self._world.names[one] for one in about]
            self.moves.append(
                ExpertMove(
                    action=f"go to {self._world.names[place]}", thought=THOUGHTS[thought].format(*names)
                )
            )

    def _open(self, place: str) -> None:
        if not self._is_open(place):
            self._opened.add(place)
            self._add("open {0}", "open", place)

    def _add(self, action: str, thought: str, *about: str) -> None:
        names = [self._world.names[one] for one in about]
        self.moves.append(ExpertMove(action=action.format(*names), thought=THOUGHTS[thought].format(*names)))
