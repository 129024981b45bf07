"""Floor plans: which receptacles stand where, and which kinds of things a room has."""

import json
from dataclasses import dataclass
from functools import cache
from random import Random

from envhub.envs.alfworld import package

ROOMS = {"kitchen": 0, "living room": 200, "bedroom": 300, "bathroom": 400}
"""Kinds of rooms, and the number before their first scene."""
ROOM_SIZE = 30
NUM_UNSEEN = 6
"""So many scenes of each kind of room, the first ones, are in no training task."""
LAMP = "DeskLamp"
"""Floor lamps stand in no receptacle, and the rules reach only what does."""
_NUM_BURNERS = 4
_CELL = 0.25
"""Metres between two points where the agent can stand."""


@dataclass(frozen=True, eq=False)
class Scene:
    """One room; there is one object for each."""

    name: str
    """`FloorPlan12`."""
    is_unseen: bool
    locations: dict[str, str]
    """Where the agent stands for each receptacle; both are ids of AI2-THOR."""
    things: tuple[str, ...]
    """The kinds of things that can be carried, and lamps, sorted."""

    @property
    def receptacles(self) -> tuple[str, ...]:
        """Their ids, in order."""
        return tuple(self.locations)


def names() -> tuple[str, ...]:
    """Every scene."""
    return tuple(f"FloorPlan{first + i}" for first in ROOMS.values() for i in range(1, ROOM_SIZE + 1))


@cache
def scene(name: str) -> Scene:
    """The scene of that name, as the package's files tell it."""
    folder = package.folder() / "gen" / "layouts"
    poses = json.loads((folder / f"{name}-openable.json").read_text(encoding="utf-8"))
    kinds = set(json.loads((folder / f"{name}-objects.json").read_text(encoding="utf-8")))
    locations = {receptacle: _location(*pose) for receptacle, pose in poses.items()}
    locations.update(_unplaced(name, kinds, locations))
    number = int(name.removeprefix("FloorPlan")) % 100
    return Scene(
        name=name,
        is_unseen=number <= NUM_UNSEEN,
        locations=dict(sorted(locations.items())),
        things=tuple(sorted(kinds & (carried() | {LAMP}))),
    )


@cache
def carried() -> frozenset[str]:
    """The kinds of things that fit into some receptacle, as they are before slicing."""
    found = frozenset().union(*capacity().values())
    return frozenset(kind for kind in found if not kind.endswith("Sliced"))


@cache
def capacity() -> dict[str, frozenset[str]]:
    """What fits into each kind of receptacle; things that can hold others are no receptacles here."""
    table = package.constant("VAL_RECEPTACLE_OBJECTS")
    movable = package.constant("MOVABLE_RECEPTACLES_SET")
    return {kind: frozenset(table[kind]) for kind in sorted(table) if kind not in movable}


def kind_of(receptacle: str) -> str:
    """`SinkBasin` of `Sink|-01.90|+00.97|-01.50|SinkBasin`."""
    first, *_, last = receptacle.split("|")
    return last if last.endswith("Basin") else first


def position(identifier: str) -> tuple[float, float, float]:
    """Metres, as the id of a receptacle tells them."""
    x, y, z = identifier.split("|")[1:4]
    return float(x), float(y), float(z)


def placed(kind: str, x: float, y: float, z: float) -> str:
    """The id of something at a position."""
    return f"{kind}|{x:+06.2f}|{y:+06.2f}|{z:+06.2f}"


def _location(x: float, z: float, rotation: float, horizon: float) -> str:
    return f"loc|{round(x / _CELL)}|{round(z / _CELL)}|{round(rotation / 90)}|{round(horizon)}"


def _unplaced(name: str, kinds: set[str], known: dict[str, str]) -> dict[str, str]:
    """Receptacles that the room has and whose place the files do not tell, beside ones that they do."""
    random = Random(f"alfworld scene:{name}")
    missing = sorted((kinds & set(capacity())) - {kind_of(receptacle) for receptacle in known})
    anchors = sorted(known)
    found: dict[str, str] = {}
    for kind in missing:
        anchor = random.choice(anchors)
        x, y, z = position(anchor)
        for index in range(_NUM_BURNERS if kind == "StoveBurner" else 1):
            place = placed(kind.removesuffix("Basin"), x + 0.4 + 0.2 * index, y, z + 0.4)
            end = f"|{kind}" if kind.endswith("Basin") else ""
            found[place + end] = _free({*known.values(), *found.values()}, known[anchor])
    return found


def _free(taken: set[str], location: str) -> str:
    """The next point beside a location where nothing is reached from."""
    head, x, *rest = location.split("|")
    while location in taken:
        x = str(int(x) + 1)
        location = "|".join((head, x, *rest))
    return location
