"""The names of the generated games, frozen: `pick_heat_then_place_in_recep-FloorPlan12-0007`."""

import re
from functools import cache

from envhub.envs.alfworld import scenes
from envhub.envs.alfworld.generator import KINDS, targets
from envhub.task import Split, Task, rank

NUM_TRAIN = 2420
NUM_TEST = 200
"""Both as many as AgentGym has."""
NUM_UNSEEN = 200
_FIRST_TEST = 5000
"""Games with smaller numbers are for training."""
_NAME = re.compile(r"([a-z_]+)-(FloorPlan[0-9]{1,3})-([0-9]{4})", re.ASCII)


@cache
def tasks() -> dict[str, Task]:
    """The listed tasks by name, split after split, each in an order by hash."""
    listed = (
        *_listed("train", NUM_TRAIN, 0),
        *_listed("test", NUM_TEST, _FIRST_TEST),
        *_listed("unseen", NUM_UNSEEN, 0),
    )
    return {task.name: task for task in listed}


def parts(name: str) -> tuple[str, str, int] | None:
    """Kind, scene and number of a name, listed or not; None when no game is called so."""
    match = _NAME.fullmatch(name)
    if not match or match[1] not in KINDS or match[2] not in scenes.names():
        return None
    if not targets(match[1], match[2]):
        return None
    return match[1], match[2], int(match[3])


def task(name: str) -> Task | None:
    """The task of a name, listed or not."""
    found = parts(name)
    if found is None:
        return None
    kind, scene, number = found
    split: Split = "test" if number >= _FIRST_TEST else "train"
    return Task(name=name, split="unseen" if scenes.scene(scene).is_unseen else split, kind=kind)


def _listed(split: Split, count: int, first: int) -> list[Task]:
    """As many of each kind, as many of each scene, as can be."""
    found = []
    for index, kind in enumerate(KINDS):
        rooms = [name for name in _rooms(kind) if scenes.scene(name).is_unseen == (split == "unseen")]
        for i in range(count // len(KINDS) + (index < count % len(KINDS))):
            name = f"{kind}-{rooms[i % len(rooms)]}-{first + i // len(rooms):04d}"
            found.append(Task(name=name, split=split, kind=kind))
    return sorted(found, key=lambda one: rank("alfworld", one.name))


def _rooms(kind: str) -> list[str]:
    """The scenes where such tasks are possible, in an order by hash."""
    return sorted(
        (name for name in scenes.names() if targets(kind, name)),
        key=lambda name: rank("alfworld", f"{kind}-{name}"),
    )
