"""Groups of random multi-turn trajectories over the vocabulary of the test model."""

import numpy as np

from common.trajectory import Group, TaskReference, Trajectory
from tests import making
from tests.learner.torch_side import VOCABULARY


def random_groups(num_groups: int = 3, size: int = 4, seed: int = 0, *, version: int = 0) -> list[Group]:
    """Several turns, rewards on any of them, some members cut by their horizon, last rewards that differ."""
    rng = np.random.default_rng(seed)
    task = TaskReference(environment="toy", task="task-0")
    return [
        Group(
            group=index,
            task=task,
            horizon=5,
            trajectories=tuple(_trajectory(rng, index, member, version) for member in range(size)),
        )
        for index in range(num_groups)
    ]


def _trajectory(rng: np.random.Generator, group: int, member: int, version: int) -> Trajectory:
    num_turns = int(rng.integers(1, 4))
    turns = []
    for index in range(num_turns):
        num_prompt, num_action = int(rng.integers(1, 6)), int(rng.integers(1, 7))
        is_last = index == num_turns - 1
        reward = float(rng.integers(0, 2)) if is_last else 0.25 * float(rng.integers(0, 2))
        turns.append(
            making.turn(num_action=num_action, version=version, reward=reward).model_copy(
                update={
                    "prompt_tokens": rng.integers(0, VOCABULARY, num_prompt).astype(np.int32),
                    "action_tokens": rng.integers(0, VOCABULARY, num_action).astype(np.int32),
                    "behaviour_logprobs": rng.uniform(-5, -3, num_action).astype(np.float32),
                }
            )
        )
    cut = {}
    if rng.random() < 0.4:
        next_prompt = rng.integers(0, VOCABULARY, 3).astype(np.int32)
        cut = {"outcome": "truncated_by_horizon", "next_prompt_tokens": next_prompt}
    return making.trajectory(group, member, turns=tuple(turns), **cut)
