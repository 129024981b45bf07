"""Makes valid records for tests; arguments are what the test is about, the rest is dull."""

import numpy as np

from common.trajectory import Group, Member, TaskReference, Trajectory, Turn, VersionSpan


def turn(
    *, num_prompt: int = 3, num_action: int = 2, version: int = 0, reward: float = 0.0, **changes: object
) -> Turn:
    values: dict[str, object] = {
        "prompt_tokens": np.arange(1, num_prompt + 1, dtype=np.int32),
        "action_tokens": np.arange(10, 10 + num_action, dtype=np.int32),
        "behaviour_logprobs": np.full(num_action, -0.5, np.float32),
        "versions": (VersionSpan(version=version, num_tokens=num_action),) if num_action else (),
        "is_stopped": True,
        "observation": "seen",
        "action": "done",
        "reward": reward,
    }
    return Turn.model_validate(values | changes)


def trajectory(
    group: int = 0,
    member: int = 0,
    *,
    attempt: int = 0,
    reward: float = 0.0,
    version: int = 0,
    num_turns: int = 1,
    horizon: int = 5,
    task: str = "task-0",
    ledger: str = "",
    **changes: object,
) -> Trajectory:
    turns = tuple(
        turn(version=version, reward=reward if index == num_turns - 1 else 0.0) for index in range(num_turns)
    )
    values: dict[str, object] = {
        "identity": Member(run="test", ledger=ledger, group=group, member=member, attempt=attempt),
        "task": TaskReference(environment="toy", task=task),
        "horizon": horizon,
        "turns": turns,
        "outcome": "terminated",
        "score": reward,
        "is_success": reward > 0,
        "actor": "actor-0",
    }
    return Trajectory.model_validate(values | changes)


def group(
    index: int = 0, rewards: tuple[float, ...] = (0.0, 1.0), *, version: int = 0, horizon: int = 5
) -> Group:
    members = tuple(
        trajectory(index, i, reward=reward, version=version, horizon=horizon)
        for i, reward in enumerate(rewards)
    )
    return Group(
        group=index,
        task=TaskReference(environment="toy", task="task-0"),
        horizon=horizon,
        trajectories=members,
    )
