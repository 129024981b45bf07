"""Settings of the trainers that need no actors, and of AgentEvol, which alternates with actors."""

from typing import Literal

from pydantic import Field

from common.config import Section
from learner.config import OptimizerConfig


class DpoConfig(OptimizerConfig):
    """Direct preference optimization on pairs of trajectories of one task."""

    learning_rate: float = Field(default=5e-7, gt=0)
    loss: Literal["sigmoid", "ipo"] = "sigmoid"
    """`sigmoid`: DPO, arXiv:2305.18290; `ipo`: the squared loss of arXiv:2310.12036."""
    beta: float = Field(default=0.1, gt=0)
    """How strongly the policy is held to the reference model; larger is closer."""
    normalizes_length: bool = False
    """Compare the mean log ratio of the action tokens instead of the sum."""
    imitation: float = Field(default=0.0, ge=0)
    """Weight of the mean negative log-likelihood of the chosen trajectory, added to the loss."""
    min_gap: float = Field(default=0.01, gt=0)
    """Least difference of return between chosen and rejected; pairs without it are left out and counted."""
    max_policy_version: int = Field(default=-1, ge=-1)
    """From a ledger, only plays that no newer policy version sampled: 0 are policy zero's own; -1: all."""
    max_pairs_per_task: int = Field(default=4, ge=1)
    pairs_per_step: int = Field(default=16, ge=1)
    epochs: int = Field(default=3, ge=1)
    checkpoint_every: int = Field(default=100, ge=1)
    """Steps after which the training's own state is kept, for a start of the same command to go on from."""


class EvolConfig(Section):
    """AgentEvol, arXiv:2406.04151: explore with the current policy, then train the base on the merged set."""

    iterations: int = Field(default=3, ge=1)
    objective: Literal["weighted", "filtered"] = "weighted"
    """`weighted`: every explored trajectory counts by its return; `filtered`: one success per task."""
    keeps: Literal["first", "best"] = "first"
    """`filtered`: which success of a task; the best has the largest return, then the fewest turns."""
    num_tasks: int = Field(default=0, ge=0)
    """Training tasks explored per iteration, over all environments, other ones each time; 0: all."""
    samples_per_task: int = Field(default=4, ge=1)
    temperature: float = Field(default=1.0, gt=0)
    horizon: int = Field(default=0, ge=0)
    """0: the last horizon of the schedule."""
    accumulates: bool = False
    """Merge what all iterations have explored so far; False: what the newest policy did, as in the paper."""
    base: Literal["model", "warm_start"] = "model"
    """What every iteration trains from: the run's first model, or the one that imitated the expert."""
    steps: int = Field(default=0, ge=0)
    """Optimizer steps per iteration; 0: as many as `sft.steps`."""
