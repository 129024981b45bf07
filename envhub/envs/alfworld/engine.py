"""The native engine: ALFWorld's rules in plain Python, thousands of steps a second.

It is held to TextWorld's engine step by step, by the tests.
"""

import re
from collections.abc import Callable

from envhub.envs.alfworld import sights
from envhub.envs.alfworld.admissible import admissible
from envhub.envs.alfworld.commands import Command
from envhub.envs.alfworld.game import NOTHING, Game, GameFile
from envhub.envs.alfworld.goal import atoms, is_met
from envhub.envs.alfworld.state import State
from envhub.envs.alfworld.world import APPLIANCES, KNIVES, TREATED

_GAINED_AND_LOST = {"heat": ("ishot", "iscool"), "clean": ("isclean", ""), "cool": ("iscool", "ishot")}
_PLACE = re.compile(r"\{(\w+)\.name\}|#examineReceptacle\.feedback#")
_CHANGED = {
    "go": ("atlocation",),
    "open": ("opened",),
    "close": ("opened",),
    "take": ("inreceptacle", "holds", "objectatlocation"),
    "move": ("inreceptacle", "holds", "objectatlocation"),
    "heat": ("ishot", "iscool"),
    "clean": ("isclean",),
    "cool": ("ishot", "iscool"),
    "slice": ("issliced",),
    "use": ("istoggled",),
}
"""The facts that a verb changes: only then the goal is looked at, and only when it asks for them."""


class NativeGame(Game):
    """One play of a game with the package's rules; `rules_differ` of its file is false."""

    def __init__(self, file: GameFile) -> None:
        self._answers = file.wording.answers
        self._world = file.world
        self._state = State(file.world, file.problem.facts)
        self._asked = {atom[0] for atom in atoms(file.world.goal)}
        self._is_won = is_met(file.world.goal, self._state.facts)
        self._opening = f"{sights.opening(self._state)}\n\n{file.wording.task}"

    @property
    def opening(self) -> str:
        """All receptacles, and the task."""
        return self._opening

    @property
    def is_won(self) -> bool:
        """By the problem's goal."""
        return self._is_won

    @property
    def state(self) -> State:
        """The state itself, not a copy."""
        return self._state

    def commands(self) -> tuple[str, ...]:
        """All that are possible now."""
        return admissible(self._state)

    def step(self, command: Command) -> str:
        """What happens; anything that is not possible now is answered with `NOTHING`."""
        identifiers = [self._world.ids.get(name, "") for name in command.names]
        reply = NOTHING
        if all(identifiers):
            reply = _ACTS[command.verb](self, command.verb, *identifiers) or NOTHING
        if reply != NOTHING and not self._asked.isdisjoint(_CHANGED.get(command.verb, ())):
            self._is_won = is_met(self._world.goal, self._state.facts)
        return reply

    def close(self) -> None:
        """Nothing is held beyond memory."""

    def _go(self, _: str, place: str) -> str:
        location = self._world.locations.get(place, self._state.location)
        if location == self._state.location:
            return ""
        self._state.location = location
        return self._answer("gotolocation", r=place, lend=location)

    def _open(self, verb: str, place: str) -> str:
        opened = self._state.flags["opened"]
        is_here = place in self._state.here() and self._world.has("openable", place)
        if not is_here or (place in opened) == (verb == "open"):
            return ""
        opened ^= {place}
        return self._answer(f"{verb}object", r=place)

    def _take(self, _: str, thing: str, place: str) -> str:
        state = self._state
        is_takable = self._world.has("pickupable", thing) and (thing, place) in state.reachable()
        if state.held or not is_takable:
            return ""
        state.inside[place].remove(thing)
        state.left[place].add(thing)
        state.nearby[state.location].discard(thing)
        state.held.add(thing)
        return self._answer("pickupobject", o=thing, r=place)

    def _move(self, _: str, thing: str, place: str) -> str:
        state = self._state
        is_reached = place in state.here() and state.is_open(place)
        if thing not in state.held or not is_reached or not self._world.fits(thing, place):
            return ""
        state.held.remove(thing)
        state.inside[place].add(thing)
        state.left[place].discard(thing)
        state.nearby[state.location].add(thing)
        return self._answer("putobject", o=thing, r=place)

    def _treat(self, verb: str, thing: str, place: str) -> str:
        state = self._state
        is_appliance = place in state.here() and self._world.kinds[place] == APPLIANCES[verb]
        if thing not in state.held or not is_appliance or not self._world.has(TREATED[verb], thing):
            return ""
        gained, lost = _GAINED_AND_LOST[verb]
        state.flags[gained].add(thing)
        if lost:
            state.flags[lost].discard(thing)
        return self._answer(f"{verb}object", o=thing, r=place)

    def _slice(self, _: str, thing: str, knife: str) -> str:
        state = self._state
        is_knife = knife in state.held and self._world.kinds[knife] in KNIVES
        is_near = thing in state.nearby[state.location]
        if not is_knife or not is_near or not self._world.has("sliceable", thing):
            return ""
        state.flags["issliced"].add(thing)
        return self._answer("sliceobject", co=thing, ko=knife)

    def _use(self, _: str, thing: str) -> str:
        # A lamp can be reached in a closed receptacle too, and is never seen to go out.
        is_here = any(thing in self._state.inside[place] for place in self._state.here())
        if not is_here or not self._world.has("toggleable", thing):
            return ""
        self._state.flags["istoggled"].add(thing)
        return sights.SWITCHED_ON.format(self._world.names[thing])

    def _examine(self, _: str, identifier: str, *others: str) -> str:
        if not others and identifier in self._state.here():
            return sights.receptacle(self._state, identifier)
        # By a slip of the original's rules, things can be examined only in the hand.
        is_held = identifier in self._state.held
        return sights.thing(self._state, identifier) if not others and is_held else ""

    def _look(self, _: str) -> str:
        return sights.surroundings(self._state)

    def _inventory(self, _: str) -> str:
        return sights.inventory(self._state)

    def _help(self, _: str) -> str:
        return self._answers["help"]

    def _answer(self, action: str, **identifiers: str) -> str:
        """The grammar's answer with the names filled in."""

        def filled(place: re.Match[str]) -> str:
            return self._world.names[identifiers[place[1]]] if place[1] else self._seen(identifiers["r"])

        return _PLACE.sub(filled, self._answers[action])

    def _seen(self, place: str) -> str:
        return sights.receptacle(self._state, place)


_ACTS: dict[str, Callable[..., str]] = {
    "go": NativeGame._go,
    "open": NativeGame._open,
    "close": NativeGame._open,
    "take": NativeGame._take,
    "move": NativeGame._move,
    "heat": NativeGame._treat,
    "clean": NativeGame._treat,
    "cool": NativeGame._treat,
    "slice": NativeGame._slice,
    "use": NativeGame._use,
    "examine": NativeGame._examine,
    "look": NativeGame._look,
    "inventory": NativeGame._inventory,
    "help": NativeGame._help,
}
