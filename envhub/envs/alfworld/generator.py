"""Games made from floor plans: a kind of task, a scene and a number determine every thing in the room."""

import re
from collections import defaultdict
from dataclasses import dataclass
from functools import cache
from random import Random

from envhub.envs.alfworld import package
from envhub.envs.alfworld.game import GameFile, described
from envhub.envs.alfworld.problem import Expression, Fact, Problem, expression
from envhub.envs.alfworld.scenes import LAMP, Scene, capacity, kind_of, placed, position, scene
from envhub.envs.alfworld.world import mangled

KINDS = (
    "pick_and_place_simple",
    "look_at_obj_in_light",
    "pick_clean_then_place_in_recep",
    "pick_heat_then_place_in_recep",
    "pick_cool_then_place_in_recep",
    "pick_two_obj_and_place",
)
_TREATMENTS = {
    "pick_clean_then_place_in_recep": ("Cleanable", "SinkBasin"),
    "pick_heat_then_place_in_recep": ("Heatable", "Microwave"),
    "pick_cool_then_place_in_recep": ("Coolable", "Fridge"),
}
"""What the thing must be, and the receptacle that does it."""
_FLAGS = {"Cleanable": "cleanable", "Heatable": "heatable", "Coolable": "coolable", "Sliceable": "sliceable"}
_NEEDED_KINDS = {
    "otype": ("KnifeType", "ButterKnifeType"),
    "rtype": ("FridgeType", "MicrowaveType", "SinkBasinType"),
}
"""The rules name these; a problem must have them, whether the room has such things or not."""
_LAMP_HOMES = ("Desk", "Dresser", "Shelf", "SideTable")
_MAX_COPIES = 3
_MAX_CONTENTS = 6
_ROOM_NEAR = 0.2


@dataclass(frozen=True)
class Target:
    """What a task asks for, in the package's spelling; `lamp` and `receptacle` exclude each other."""

    thing: str
    receptacle: str = ""
    lamp: str = ""


def generate(kind: str, scene_name: str, number: int) -> GameFile:
    """The game of that name, the same on every machine; solvable, not solved at the beginning."""
    # Random seeded with text hashes it by SHA-512, independent of PYTHONHASHSEED.
    random = Random(f"alfworld:{kind}:{scene_name}:{number}")
    room = scene(scene_name)
    target = random.choice(targets(kind, scene_name))
    things = _Furnisher(random, room, target, 2 if kind == "pick_two_obj_and_place" else 1).things
    goal, sentences = package.goal(kind)
    words = {"obj": target.thing, "recep": target.receptacle, "toggle": target.lamp, "mrecep": ""}
    filled = re.sub(r"\{(\w+)\}", lambda place: words[place[1]], goal)
    return described(
        Problem(_objects(room, things), frozenset(_facts(room, things)), _goal(filled)),
        random.choice(sentences).format(**{key: value.lower() for key, value in words.items()}),
    )


@cache
def targets(kind: str, scene_name: str) -> tuple[Target, ...]:
    """Everything that a task of this kind can ask for in the scene; sorted, empty when nothing."""
    room = scene(scene_name)
    standing = {kind_of(receptacle) for receptacle in room.receptacles}
    carried = [thing for thing in room.things if _homes(room, thing)]
    if kind == "look_at_obj_in_light":
        if LAMP not in room.things or not _homes(room, LAMP):
            return ()
        return tuple(Target(thing, lamp=LAMP) for thing in carried if thing != LAMP)
    flag, appliance = _TREATMENTS.get(kind, ("", ""))
    if appliance and appliance not in standing:
        return ()
    able = package.constant("VAL_ACTION_OBJECTS")[flag] if flag else carried
    return tuple(
        Target(thing, receptacle)
        for thing in carried
        if thing in able
        for receptacle in sorted(standing - {appliance})
        if thing in capacity().get(receptacle, ()) and set(_homes(room, thing)) - {receptacle}
    )


def _homes(room: Scene, thing: str) -> tuple[str, ...]:
    """The kinds of receptacles of the room where such a thing may be."""
    standing = sorted({kind_of(receptacle) for receptacle in room.receptacles})
    if thing == LAMP:
        return tuple(kind for kind in standing if kind in _LAMP_HOMES)
    return tuple(kind for kind in standing if thing in capacity().get(kind, ()))


class _Furnisher:
    """Puts up to `_MAX_COPIES` of every kind of thing into receptacles where it may be."""

    def __init__(self, random: Random, room: Scene, target: Target, num_targets: int) -> None:
        self._random = random
        self._room = room
        self._free = {receptacle: _MAX_CONTENTS for receptacle in room.receptacles}
        self.things: dict[str, str] = {}
        """Receptacle of each thing, by id."""
        first = [target.thing, *([target.lamp] if target.lamp else [])]
        for thing in (*first, *(thing for thing in room.things if thing not in first)):
            fewest = num_targets if thing == target.thing else 1
            most = 1 if thing == LAMP else max(fewest, random.randint(1, _MAX_COPIES))
            # Where the task is done nothing may lie that would do for it.
            avoided = target.receptacle if thing == target.thing else ""
            self._place(thing, random.randint(fewest, most), avoided)

    def _place(self, thing: str, count: int, avoided: str) -> None:
        kinds = set(_homes(self._room, thing)) - {avoided}
        for _ in range(count):
            homes = [r for r in self._room.receptacles if kind_of(r) in kinds and self._free[r]]
            if homes:
                home = self._random.choice(homes)
                self._free[home] -= 1
                self.things[self._identifier(thing, home)] = home

    def _identifier(self, thing: str, home: str) -> str:
        x, y, z = position(home)
        while True:
            near = [self._random.uniform(-_ROOM_NEAR, _ROOM_NEAR) for _ in range(2)]
            found = placed(thing, x + near[0], y, z + near[1])
            if found not in self.things:
                return found


def _objects(room: Scene, things: dict[str, str]) -> dict[str, str]:
    """Every object of the problem with its type."""
    found = {"agent1": "agent", mangled(_start(room)): "location"}
    found.update({f"{kind_of(receptacle)}Type".lower(): "rtype" for receptacle in room.receptacles})
    for kind, names in _NEEDED_KINDS.items():
        found.update({name.lower(): kind for name in names})
    found.update({f"{thing}Type".lower(): "otype" for thing in room.things})
    found.update({mangled(thing): "object" for thing in things})
    for receptacle, location in room.locations.items():
        found[mangled(receptacle)] = "receptacle"
        found[mangled(location)] = "location"
    return found


def _facts(room: Scene, things: dict[str, str]) -> set[Fact]:
    openable = package.constant("OPENABLE_CLASS_SET")
    facts: set[Fact] = {("atlocation", "agent1", mangled(_start(room)))}
    for receptacle, location in room.locations.items():
        identifier, kind = mangled(receptacle), kind_of(receptacle)
        facts.add(("receptacletype", identifier, f"{kind}Type".lower()))
        facts.add(("receptacleatlocation", identifier, mangled(location)))
        if kind in openable:
            facts.add(("openable", identifier))
    for thing, receptacle in things.items():
        identifier = mangled(thing)
        facts.add(("inreceptacle", identifier, mangled(receptacle)))
        facts.add(("objectatlocation", identifier, mangled(room.locations[receptacle])))
        facts.add(("objecttype", identifier, f"{thing.partition('|')[0]}Type".lower()))
        facts.update((flag, identifier) for flag in _flags()[thing.partition("|")[0]])
    return facts | _capacity_facts(room)


@cache
def _flags() -> dict[str, tuple[str, ...]]:
    """What can be done with each kind of thing."""
    table = package.constant("VAL_ACTION_OBJECTS")
    found: dict[str, list[str]] = defaultdict(list)
    for thing in package.constant("OBJECTS_SET"):
        lamp = thing in table["Toggleable"]
        found[thing].append("toggleable" if lamp else "pickupable")
        found[thing].extend(flag for name, flag in _FLAGS.items() if thing in table[name])
        if thing in package.constant("MOVABLE_RECEPTACLES_SET"):
            found[thing].append("isreceptacleobject")
    return {thing: tuple(flags) for thing, flags in found.items()}


@cache
def _capacity_facts(room: Scene) -> frozenset[Fact]:
    """What fits where, as far as the room has such receptacles and things."""
    return frozenset(
        ("cancontain", f"{kind}Type".lower(), f"{thing}Type".lower())
        for kind in {kind_of(receptacle) for receptacle in room.receptacles}
        for thing in capacity().get(kind, frozenset()).intersection(room.things)
    )


def _start(room: Scene) -> str:
    """A place of its own, where no receptacle is in reach."""
    points = [location.split("|") for location in room.locations.values()]
    return f"loc|{min(int(p[1]) for p in points) - 1}|{min(int(p[2]) for p in points) - 1}|0|30"


def _goal(text: str) -> Expression:
    """The condition inside `(:goal ...)`."""
    found: Expression = expression(text)[1]
    return found
