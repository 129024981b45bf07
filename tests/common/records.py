"""Records for tests."""

import numpy as np

from common.trajectory import Member, Outcome, TaskReference, Trajectory, Turn, VersionSpan


def make_turn(num_prompt: int = 5, num_actions: int = 4, versions: tuple[int, ...] = (0,)) -> Turn:
    """A turn whose actions were sampled by `versions`, in equal shares."""
    shares = [len(part) for part in np.array_split(np.arange(num_actions), len(versions) or 1)]
    return Turn(
        prompt_tokens=np.arange(num_prompt, dtype=np.int32),
        action_tokens=np.arange(100, 100 + num_actions, dtype=np.int32),
        behaviour_logprobs=np.linspace(-3, -0.1, num_actions, dtype=np.float32),
        versions=tuple(
            VersionSpan(version=v, num_tokens=n) for v, n in zip(versions, shares, strict=False) if n
        ),
        is_stopped=True,
        observation="You see: ünïcödé",
        action="Action: get 1 oak log",
        reward=0.5,
    )


def make_trajectory(
    num_turns: int = 2,
    num_prompt: int = 5,
    num_actions: int = 4,
    versions: tuple[int, ...] = (0,),
    outcome: Outcome = "terminated",
    group: int = 1,
    member: int = 0,
) -> Trajectory:
    """A trajectory of equal turns."""
    return Trajectory(
        identity=Member(run="r", group=group, member=member),
        task=TaskReference(environment="textcraft", task="craft.1", seed=7),
        horizon=10,
        turns=tuple(make_turn(num_prompt, num_actions, versions) for _ in range(num_turns)),
        outcome=outcome,
        score=1.0,
        is_success=True,
        actor="a",
        started_at=1.5,
        finished_at=2.5,
    )
