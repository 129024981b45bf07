"""Which episodes exist: levels and seeds by name, AgentGym's index map, and the default splits.

    BabyAI-GoToObj-v0-seed17    a level of the package and the seed of its generator
    babyai_123                  AgentGym's data_idx: level 123 % 40 of its forty, seed 123 // 40
"""

import re
from functools import cache
from hashlib import blake2b
from importlib.resources import files
from typing import Final

from envhub.task import Split, Task

AGENTGYM_LEVELS: Final = tuple(
    f"BabyAI-{level}"
    for level in """
    GoToRedBallGrey-v0 GoToRedBall-v0 GoToRedBallNoDists-v0 GoToObjS6-v1 GoToLocalS8N7-v0
    GoToObjMazeS7-v0 GoToImpUnlock-v0 GoToSeqS5R2-v0 GoToRedBlueBall-v0 GoToDoor-v0
    GoToObjDoor-v0 Open-v0 OpenRedDoor-v0 OpenDoorLoc-v0 OpenRedBlueDoorsDebug-v0
    OpenDoorsOrderN4Debug-v0 Pickup-v0 UnblockPickup-v0 PickupLoc-v0 PickupDistDebug-v0
    PickupAbove-v0 PutNextLocalS6N4-v0 PutNextS7N4Carrying-v0 Unlock-v0 UnlockLocalDist-v0
    KeyInBox-v0 UnlockPickupDist-v0 BlockedUnlockPickup-v0 UnlockToUnlock-v0 ActionObjDoor-v0
    FindObjS7-v0 KeyCorridorS6R3-v0 OneRoomS20-v0 MoveTwoAcrossS8N9-v0 SynthS5R2-v0
    SynthLoc-v0 SynthSeq-v0 MiniBossLevel-v0 BossLevel-v0 BossLevelNoUnlock-v0
    """.split()
)
"""In AgentGym's order, which its `data_idx` counts; the package replaced GoToObjS6-v0 by v1."""
OTHER_LEVELS: Final = tuple(
    f"BabyAI-{level}-v0"
    for level in """
    FindObjS5 FindObjS6 GoTo GoToLocal GoToLocalS5N2 GoToLocalS6N2 GoToLocalS6N3 GoToLocalS6N4
    GoToLocalS7N4 GoToLocalS7N5 GoToLocalS8N2 GoToLocalS8N3 GoToLocalS8N4 GoToLocalS8N5 GoToLocalS8N6
    GoToObj GoToObjMaze GoToObjMazeOpen GoToObjMazeS4 GoToObjMazeS4R2 GoToObjMazeS5 GoToObjMazeS6
    GoToObjS4 GoToOpen GoToSeq KeyCorridor KeyCorridorS3R1 KeyCorridorS3R2 KeyCorridorS3R3
    KeyCorridorS4R3 KeyCorridorS5R3 MoveTwoAcrossS5N2 OneRoomS12 OneRoomS16 OneRoomS8 OpenDoor
    OpenDoorColor OpenDoorDebug OpenDoorsOrderN2 OpenDoorsOrderN2Debug OpenDoorsOrderN4
    OpenRedBlueDoors OpenTwoDoors PickupDist PutNextLocal PutNextLocalS5N3 PutNextS4N1 PutNextS5N1
    PutNextS5N2 PutNextS5N2Carrying PutNextS6N3 PutNextS6N3Carrying PutNextS7N4 Synth UnlockLocal
    UnlockPickup
    """.split()
)
"""The package's further levels: reachable by name, in no split."""
MAX_SEEDS: Final = 100_000
"""Seeds 0 to this, exclusive, have names."""
TRAIN_SEEDS: Final = range(100, 200)
TEST_SEEDS: Final = range(5)
"""Seeds 0 to 22 are AgentGym's own 900 ids, its evaluation among them: none of these is ever trained on."""

_REPLACED: Final = {"BabyAI-GoToObjS6-v0": "BabyAI-GoToObjS6-v1"}
_NAME = re.compile(r"(BabyAI-[A-Za-z0-9]{1,40}-v[0-9])-seed(0|[1-9][0-9]{0,5})", re.ASCII)
_INDEX_NAME = re.compile(r"babyai_(0|[1-9][0-9]{0,7})", re.ASCII)


def task_name(level: str, seed: int) -> str:
    """The canonical name."""
    return f"{level}-seed{seed}"


def kind(level: str) -> str:
    """The level's type: its name without what all levels share."""
    return level.removeprefix("BabyAI-").rpartition("-")[0]


def indexed(index: int) -> tuple[str, int] | None:
    """Level and seed of AgentGym's `data_idx`; None outside `num_indexed`."""
    if not 0 <= index < num_indexed():
        return None
    seed, place = divmod(index, len(AGENTGYM_LEVELS))
    return AGENTGYM_LEVELS[place], seed


def num_indexed() -> int:
    """How many indices there are."""
    return MAX_SEEDS * len(AGENTGYM_LEVELS)


def read(name: str) -> tuple[str, int] | None:
    """Level and seed of a task's name in any of its forms; None when there is no such task."""
    if match := _INDEX_NAME.fullmatch(name):
        return indexed(int(match[1]))
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    level, seed = _REPLACED.get(match[1], match[1]), int(match[2])
    return (level, seed) if level in _known() and seed < MAX_SEEDS else None


def task(level: str, seed: int) -> Task:
    """The task; seeds that no split lists count as training tasks unless they are AgentGym's own."""
    split: Split = "train" if seed >= TRAIN_SEEDS.start else "test"
    return Task(name=task_name(level, seed), split=split, kind=kind(level))


@cache
def listed(split: Split) -> tuple[Task, ...]:
    """The tasks of a split ordered by hash, without those of `excluded`."""
    seeds = {"train": TRAIN_SEEDS, "test": TEST_SEEDS}.get(split, range(0))
    found = [task(level, seed) for level in AGENTGYM_LEVELS for seed in seeds]
    return tuple(sorted((one for one in found if one.name not in excluded()), key=_rank))


@cache
def excluded() -> frozenset[str]:
    """Names that the splits leave out because the expert does not win them; see `exclusions`."""
    text = files("envhub.envs.babyai").joinpath("excluded.txt").read_text(encoding="utf-8")
    return frozenset(line for line in text.splitlines() if line and not line.startswith("#"))


@cache
def _known() -> frozenset[str]:
    return frozenset(AGENTGYM_LEVELS + OTHER_LEVELS)


def _rank(one: Task) -> str:
    return blake2b(f"babyai:{one.name}".encode(), digest_size=8).hexdigest()
