"""The promise that episodes are the same everywhere, tried in processes that hash differently."""

import os
import subprocess
import sys
from itertools import islice

from envhub.contract.subject import Subject, digest
from envhub.environment import Environment
from envhub.task import SPLITS, checked_split

HASH_SEEDS = ("1", "4711")
NUM_TURNS = 5
TIMEOUT_S = 300.0


def shown(environment: Environment, num_tasks: int) -> str:
    """A digest of how the first tasks of every split open with two seeds, and of their first turns."""
    lines = []
    for split in SPLITS:
        for task in environment.tasks(checked_split(split))[:num_tasks]:
            for seed in (0, 1):
                episode = environment.reset(task.name, seed)
                lines.append(episode.observation)
                if environment.has_expert:
                    turns = (episode.step(episode.expert().action) for _ in range(NUM_TURNS))
                    lines += [str(result) for result in islice(turns, NUM_TURNS)]
                lines += [*episode.actions(), str(episode.detail())]
                episode.close()
    return digest([*lines, *environment.vocabulary()])


def episodes_are_the_same_in_every_process(subject: Subject) -> None:
    """Whatever PYTHONHASHSEED is; left out for a subject without an address."""
    if not subject.address:
        return
    here = shown(subject.environment, subject.num_shown)
    for hash_seed in HASH_SEEDS:
        done = subprocess.run(
            [sys.executable, "-m", "envhub.contract", "--shown", str(subject.num_shown), subject.address],
            env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        subject.require(done.returncode == 0, f"in another process: {done.stderr[-2000:]}")
        there = done.stdout.split()[-1]
        subject.require(there == here, f"episodes differ in a process with PYTHONHASHSEED={hash_seed}")
