"""`python -m tests.contracts.digests [NAME ...]`: the digests for `frozen.json`, of all environments or some.

What is frozen stays frozen: a line is added for a new environment and never changed for an old one.
"""

import json
import sys
from pathlib import Path
from typing import Final

from envhub import registry
from envhub.contract import digest
from envhub.task import SPLITS, checked_split
from tests.contracts.subjects import missing, subject

FILE: Final = Path(__file__).with_name("frozen.json")
NUM_SHOWN: Final[dict[str, int]] = {"alfworld_textworld": 1, "sciworld": 1}
"""Tasks of each split whose openings are pinned, where 50 would take long."""


def frozen() -> dict[str, dict[str, str]]:
    """Environment -> split -> sha256 of all its names, one a line; `shown` -> that of the first openings."""
    loaded: dict[str, dict[str, str]] = json.loads(FILE.read_text())
    return loaded


def names_digest(name: str, split: str) -> str:
    """The sha256 of all names of a split, in order."""
    return digest(subject(name).names(split))


def shown_digest(name: str) -> str:
    """The sha256 of the first openings of every split, with seeds 0 and 1."""
    environment = subject(name).environment
    openings = []
    for split in SPLITS:
        for task in environment.tasks(checked_split(split))[: NUM_SHOWN.get(name, 50)]:
            for seed in (0, 1):
                episode = environment.reset(task.name, seed)
                openings.append(episode.observation)
                episode.close()
    return digest(openings)


def digests(name: str) -> dict[str, str]:
    """What `frozen.json` holds of an environment."""
    return {**{split: names_digest(name, split) for split in SPLITS}, "shown": shown_digest(name)}


def main(names: list[str]) -> int:
    """Print what the file would hold; environments that are missing here keep what it holds."""
    known = frozen()
    for name in names or registry.names():
        if why := missing(name):
            sys.stderr.write(f"{name}: {why}\n")
        else:
            known[name] = digests(name)
    sys.stdout.write(json.dumps(known, indent=2, sort_keys=True) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
