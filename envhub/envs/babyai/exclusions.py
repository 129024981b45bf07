"""The tasks of the default seeds that the splits leave out; writes `excluded.txt` anew, in about an hour.

    python -m envhub.envs.babyai.exclusions

Most of them nobody can win: a generator of the package may lock a key in behind its own door, and a strict
sequence fails with the very toggle that completes its first part. The others are test tasks whose rooms some
training task has under another seed.
"""

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from envhub.envs.babyai import levels
from envhub.envs.babyai.environment import BabyAI

_HEAD = """# Tasks of the default seeds that the splits leave out: python -m envhub.envs.babyai.exclusions
# The expert does not win them, or (the last ones) another seed of the training split gives the same rooms.
"""


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


def doubled(environment: BabyAI, names: Iterable[str], trained: Iterable[str]) -> Iterator[str]:
    """Those of the names whose goal, rooms and things one of the trained tasks has too, in order."""
    known = {environment.reset(name, 0).render() for name in trained}
    return (name for name in names if environment.reset(name, 0).render() in known)


def main() -> int:
    """Play every candidate of the splits and compare those for testing with those for training."""
    environment = BabyAI()
    train, test = ([levels.task_name(*one) for one in levels.candidates(s)] for s in ("train", "test"))
    left_out = dict.fromkeys((*lost(environment, (*train, *test)), *doubled(environment, test, train)))
    text = "".join(f"{name}\n" for name in left_out)
    Path(__file__).with_name("excluded.txt").write_text(_HEAD + text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
