"""Staleness: how old the policy behind a trained token is; paced on grant, guaranteed at the door.

staleness = the learner's version at consumption - the oldest version that sampled a token
          = (version at arrival - oldest)  +  (version at consumption - version at arrival)
          =  in-flight share               +   in-queue share
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from common.trajectory import Group, Trajectory
from learner.config import StalenessConfig


def max_outstanding(config: StalenessConfig, groups_per_step: int) -> int:
    """Groups that may be granted and not yet consumed: (max_staleness + 1) * groups_per_step.

    A slot is freed when a group is consumed (or dropped), never when it arrives: freed on arrival, a fast
    actor would run ahead of the learner without bound.
    """
    return (config.max_staleness + 1) * groups_per_step


def min_version(config: StalenessConfig, version: int) -> int:
    """The oldest policy that may begin an episode granted at `version`.

    Synchronous training and `wait` promise no older token: no episode begins with older weights.
    """
    return version if config.max_staleness == 0 or config.mode == "wait" else 0


def token_staleness(trajectory: Trajectory, version: int) -> NDArray[np.int32]:
    """[A] versions between each action token's policy and `version`.

    The distance is absolute: after a learner has resumed from a checkpoint, a token may come from a version
    that this learner has not reached again; such a policy is as foreign as one equally far behind.
    """
    return np.abs(version - trajectory.token_versions())


@dataclass(frozen=True)
class GroupStaleness:
    """Of one group at consumption."""

    oldest: int
    """Of its oldest token; 0 for a group without action tokens."""
    in_flight: float
    in_queue: float
    """Means over its trajectories."""


def measure(group: Group, received: list[int], version: int) -> GroupStaleness:
    """Staleness of `group`, consumed at `version`; `received[i]` is the version when member i arrived."""
    oldest, in_flight, in_queue = 0, list[int](), list[int]()
    for trajectory, at in zip(group.trajectories, received, strict=True):
        if trajectory.num_action_tokens:
            oldest = max(oldest, int(token_staleness(trajectory, version).max()))
            in_flight.append(abs(at - trajectory.oldest_version))
        in_queue.append(abs(version - at))
    return GroupStaleness(oldest, float(np.mean(in_flight or [0])), float(np.mean(in_queue or [0])))


def fresh_tokens(trajectory: Trajectory, version: int, config: StalenessConfig) -> NDArray[np.bool_]:
    """[A] True where a token may be trained on: not older than `max_staleness` versions."""
    return token_staleness(trajectory, version) <= config.max_staleness


def sampled_by(group: Group) -> set[int]:
    """The policies that sampled a token of the group."""
    return {span.version for t in group.trajectories for turn in t.turns for span in turn.versions}


def is_too_stale(group: Group, version: int, config: StalenessConfig) -> bool:
    """Whether the group must be dropped: for any old token under `drop`, else when no token is fresh."""
    fresh = [abs(version - sampled) <= config.max_staleness for sampled in sampled_by(group)]
    return not (all if config.mode == "drop" else any)(fresh)
