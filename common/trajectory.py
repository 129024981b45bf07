"""The record of what was played: turns make a trajectory, the trajectories of one task make a group.

Immutable once made. What the learner trains on is exactly what is stored here: tokens in, tokens out.
"""

import math
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from common.arrays import Float32, Int32

Outcome = Literal[
    "terminated",
    "truncated_by_environment",
    "truncated_by_horizon",
    "truncated_by_tokens",
    "truncated_by_time",
    "faulted",
]


MAX_COUNT = 1 << 31
"""Bound of indices and versions: int32 in arrays, and SQLite has no unsigned integers of 64 bits."""


class Record(BaseModel):
    """An immutable, strictly validated value; unknown fields and numbers that are not finite are refused.

    Long tuples are validated with `fail_fast`: of 65,000 wrong items each would be a mistake of its own,
    built to tell the first.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True, allow_inf_nan=False)


class VersionSpan(Record):
    """`num_tokens` consecutive action tokens sampled by one policy version."""

    version: int = Field(ge=0, lt=MAX_COUNT)
    num_tokens: int = Field(ge=1)


class Turn(Record):
    """One exchange: the policy reads what is new, acts, and the environment answers."""

    prompt_tokens: Int32
    """[P] what the policy reads that it has not read before: template, observation, unsampled end token."""
    action_tokens: Int32
    """[A] what the policy sampled, in order; includes the end token only when it was sampled."""
    behaviour_logprobs: Float32
    """[A] log mu(token), nats, at the sampling temperature, as recorded when sampled."""
    versions: tuple[VersionSpan, ...] = Field(fail_fast=True)
    """Run-length: which policy version sampled how many of the action tokens; sums to A."""
    is_stopped: bool
    """False when the action was cut by its token limit instead of ending by itself."""
    observation: str
    """What the environment showed before the action, as text for people."""
    action: str
    """The action as text for people; never tokenized again."""
    reward: float = 0.0
    is_malformed: bool = False
    """The text could not be parsed as an action; an ordinary outcome, answered by the environment."""
    generation_s: float = Field(default=0.0, ge=0)
    environment_s: float = Field(default=0.0, ge=0)

    @model_validator(mode="after")
    def _lengths_agree(self) -> "Turn":
        num = len(self.action_tokens)
        if len(self.behaviour_logprobs) != num:
            raise ValueError(f"{num} action tokens but {len(self.behaviour_logprobs)} behaviour logprobs")
        if sum(span.num_tokens for span in self.versions) != num:
            raise ValueError(
                f"{num} action tokens but version spans of {[s.num_tokens for s in self.versions]}"
            )
        if not np.isfinite(self.behaviour_logprobs).all():
            raise ValueError("a behaviour logprob is not finite; allowed: finite nats")
        return self


class Member(Record):
    """Which play this is: member `member` of group `group` of run `run`, played for the `attempt`-th time."""

    run: str
    ledger: str = Field(default="", max_length=64)
    """The random name of the ledger that counts the groups: where it was deleted, the next counts anew."""
    group: int = Field(ge=0, lt=MAX_COUNT)
    member: int = Field(ge=0, lt=MAX_COUNT)
    attempt: int = Field(default=0, ge=0, lt=MAX_COUNT)


class TaskReference(Record):
    """A task by name: which environment, which task of it, and the seed of the play."""

    environment: str
    task: str
    seed: int = 0
    kind: str = ""
    """The type of the task, for counting by type; not part of its identity."""
    depth: int = Field(default=0, ge=0, lt=MAX_COUNT)
    """How many layers of sub-goals it has, 0 where that is not known; for counting, as `kind` is."""


class Trajectory(Record):
    """The record of one episode; what travels from actor to learner."""

    identity: Member
    task: TaskReference
    horizon: int = Field(ge=1)
    turns: tuple[Turn, ...] = Field(fail_fast=True)
    outcome: Outcome
    score: float = 0.0
    """The environment's own scale (SciWorld 0-100, TextCraft 0-1)."""
    is_success: bool = False
    """By the environment's own predicate, never by comparing the reward with 1."""
    actor: str = ""
    fault: str = ""
    """Why, when the outcome is `faulted`; empty otherwise."""
    next_prompt_tokens: Int32 = Field(default_factory=lambda: np.empty(0, np.int32))
    """[P] what the policy would have read next, had the episode not been cut; a critic bootstraps there."""
    started_at: float = 0.0
    finished_at: float = 0.0
    """Seconds since the epoch, on the actor's clock."""

    @model_validator(mode="after")
    def _return_is_finite(self) -> "Trajectory":
        if not math.isfinite(self.episode_return):
            raise ValueError(f"the rewards sum to {self.episode_return}; allowed: a finite return")
        return self

    @property
    def episode_return(self) -> float:
        """The rewards summed over the episode."""
        return float(sum(turn.reward for turn in self.turns))

    @property
    def num_action_tokens(self) -> int:
        """Tokens that the policy sampled."""
        return sum(len(turn.action_tokens) for turn in self.turns)

    @property
    def num_tokens(self) -> int:
        """Tokens in all: read and sampled."""
        return sum(len(turn.prompt_tokens) + len(turn.action_tokens) for turn in self.turns)

    @property
    def is_truncated(self) -> bool:
        """Cut by the horizon, by tokens or by time: not ended by the task, and not a failure of it."""
        return self.outcome.startswith("truncated")

    @property
    def oldest_version(self) -> int:
        """The oldest policy version that sampled any of its tokens; ValueError when nothing was sampled."""
        return min(span.version for turn in self.turns for span in turn.versions)

    @property
    def newest_version(self) -> int:
        """The newest policy version that sampled any of its tokens; ValueError when nothing was sampled."""
        return max(span.version for turn in self.turns for span in turn.versions)

    def tokens(self) -> NDArray[np.int32]:
        """[T] every token in order: prompt and action of each turn."""
        parts = [part for turn in self.turns for part in (turn.prompt_tokens, turn.action_tokens)]
        return np.concatenate([np.empty(0, np.int32), *parts])

    def is_action(self) -> NDArray[np.bool_]:
        """[T] True where the policy sampled the token."""
        parts = [
            np.full(len(part), acted)
            for turn in self.turns
            for part, acted in ((turn.prompt_tokens, False), (turn.action_tokens, True))
        ]
        return np.concatenate([np.empty(0, np.bool_), *parts])

    def behaviour_logprobs(self) -> NDArray[np.float32]:
        """[A] in the order of the action tokens."""
        return np.concatenate([np.empty(0, np.float32), *(turn.behaviour_logprobs for turn in self.turns)])

    def token_versions(self) -> NDArray[np.int32]:
        """[A] the policy version that sampled each action token."""
        spans = [span for turn in self.turns for span in turn.versions]
        return np.repeat([s.version for s in spans], [s.num_tokens for s in spans]).astype(np.int32)


class Group(Record):
    """The trajectories of one task at one horizon that are compared with each other; never mixed."""

    group: int = Field(ge=0, lt=MAX_COUNT)
    task: TaskReference
    horizon: int = Field(ge=1)
    trajectories: tuple[Trajectory, ...] = Field(fail_fast=True)

    @model_validator(mode="after")
    def _is_unmixed(self) -> "Group":
        for trajectory in self.trajectories:
            if (trajectory.task.environment, trajectory.task.task) != (self.task.environment, self.task.task):
                raise ValueError(
                    f"group {self.group} mixes tasks {self.task.task!r} and {trajectory.task.task!r}"
                )
            if trajectory.horizon != self.horizon:
                raise ValueError(f"group {self.group} mixes horizons {self.horizon} and {trajectory.horizon}")
        return self
