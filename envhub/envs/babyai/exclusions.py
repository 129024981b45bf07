"""The tasks of the default seeds that the expert does not win; writes `excluded.txt` anew, in about an hour.

    python -m envhub.envs.babyai.exclusions

Nobody can win those that are listed: a generator of the package may lock a key in behind its own door, and a
strict sequence fails with the very toggle that completes its first part.
"""

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from envhub.envs.babyai import levels
from envhub.envs.babyai.environment import BabyAI

_HEAD = "# Tasks of the default seeds that the expert does not win: python -m envhub.envs.babyai.exclusions\n"


def is_won(environment: BabyAI, name: str) -> bool:
    """Whether the expert reaches the goal within the horizon."""
    episode = environment.reset(name, 0)
    for _ in range(environment.horizon):
        result = episode.step(episode.expert().action)
        if result.is_over:
            return result.is_success
    return False


def lost(environment: BabyAI, names: Iterable[str]) -> Iterator[str]:
    """Those of the names that the expert does not win, in order."""
    return (name for name in names if not is_won(environment, name))


def main() -> int:
    """Play every candidate of the splits."""
    candidates = (*levels.candidates("train"), *levels.candidates("test"))
    names = [levels.task_name(level, seed) for level, seed in candidates]
    text = "".join(f"{name}\n" for name in lost(BabyAI(), names))
    Path(__file__).with_name("excluded.txt").write_text(_HEAD + text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
