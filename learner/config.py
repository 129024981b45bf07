"""How the learner learns: batch, advantage, loss, optimizer, staleness, horizon, checkpoints."""

from typing import Literal

from pydantic import Field, model_validator

from common.bus.config import BusConfig
from common.config import Section
from common.messages import Sampling
from common.model_config import ModelConfig
from common.run_config import MonitorConfig, RoleConfig, RunSection


class LossConfig(Section):
    """The policy-gradient objective, anchored on the recorded behaviour logprobs."""

    kind: Literal["dppo_tv", "ppo", "tis"] = "dppo_tv"
    clip_low: float = Field(default=0.2, gt=0, lt=1)
    clip_high: float = Field(default=0.28, gt=0)
    """`ppo`: bounds of the ratio, 1 - clip_low and 1 + clip_high."""
    tv_delta: float = Field(default=0.2, gt=0, le=1)
    """`dppo_tv`: a token is masked when |pi - mu| exceeds this in the direction of the update."""
    max_ratio: float = Field(default=20.0, gt=1)
    """`dppo_tv`: cap of the importance ratio."""
    tis_cap: float = Field(default=2.0, gt=0)
    """`tis`: cap of the truncated importance weight."""
    behaviour_kl: float = Field(default=1e-3, ge=0)
    """Weight of (log r)^2 towards the behaviour policy."""
    entropy: float = Field(default=0.0, ge=0)
    """Weight of the entropy bonus."""


class HorizonConfig(Section):
    """The schedule of the horizon: a pure function of the step and of what the ledger knows."""

    kind: Literal["fixed", "stepwise", "linear", "adaptive"] = "fixed"
    rounds: tuple[int, ...] = (10,)
    """`fixed`: the first; `stepwise`, `adaptive`: one after the other; `linear`: from first to last."""
    every: int = Field(default=100, ge=1)
    """Steps: per round (`stepwise`), from first to last (`linear`), the fewest per round (`adaptive`)."""
    success_threshold: float = Field(default=0.7, gt=0, le=1)
    """`adaptive`: raise when success at this horizon reaches this share."""
    truncation_threshold: float = Field(default=0.3, gt=0, le=1)
    """`adaptive`: raise when the horizon cuts this share of the episodes."""
    window: int = Field(default=128, ge=1)
    """`adaptive`: judged on this many trajectories of the current horizon, of zero-variance groups too."""

    @model_validator(mode="after")
    def _rounds_rise(self) -> "HorizonConfig":
        if not self.rounds:
            raise ValueError("rounds is empty: give at least one horizon")
        if any(h < 1 for h in self.rounds) or list(self.rounds) != sorted(set(self.rounds)):
            raise ValueError(f"rounds {list(self.rounds)}: horizons must be positive and strictly rising")
        return self


class StalenessConfig(Section):
    """How old a token may be when it is trained on."""

    max_staleness: int = Field(default=8, ge=0)
    """In policy versions, at consumption, of the oldest token; 0 is synchronous training."""
    mode: Literal["mask", "drop", "wait"] = "mask"
    """At the limit: mask those tokens, drop and refill the group, or wait so that none gets so old."""


class OptimizerConfig(Section):
    """AdamW with a warm-up; masters in float32."""

    learning_rate: float = Field(default=1e-6, gt=0)
    beta1: float = Field(default=0.9, ge=0, lt=1)
    beta2: float = Field(default=0.95, ge=0, lt=1)
    epsilon: float = Field(default=1e-8, gt=0)
    weight_decay: float = Field(default=0.0, ge=0)
    warmup_steps: int = Field(default=0, ge=0)
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    """After the warm-up, down to `min_scale` at the last step."""
    min_scale: float = Field(default=0.1, ge=0, le=1)
    max_grad_norm: float = Field(default=1.0, gt=0)


class SftConfig(OptimizerConfig):
    """The warm start: supervised learning on expert trajectories (AgentTraj rows)."""

    num_demonstrations: int = Field(default=0, ge=0)
    """Written by `pronghorn data expert`; 0: no warm start."""
    depths: tuple[int, ...] = ()
    """Only goals of these depths; empty: all."""
    wander: float = Field(default=0.0, ge=0, lt=1)
    """How often the demonstrator takes any possible action instead of the expert's."""
    learning_rate: float = Field(default=1e-3, gt=0)
    steps: int = Field(default=200, ge=1)
    batch_tokens: int = Field(default=8192, ge=64)


class LearnerConfig(OptimizerConfig):
    """One logical learner of any number of ranks."""

    steps: int = Field(default=100, ge=0)
    groups_per_step: int = Field(default=8, ge=1)
    group_size: int = Field(default=8, ge=1)
    advantage: Literal["grpo"] = "grpo"
    normalizes_std: bool = False
    """GRPO: divide by the group's standard deviation."""
    drops_zero_variance: bool = True
    """Groups whose members all scored the same teach nothing: dropped and refilled."""
    mask_truncated: bool = False
    """Do not train on trajectories that were cut."""
    loss: LossConfig = LossConfig()
    staleness: StalenessConfig = StalenessConfig()
    microbatch_tokens: int = Field(default=4096, ge=64)
    """Token budget of one packed micro-batch."""
    num_ranks: int = Field(default=1, ge=1)
    device: Literal["auto", "cpu", "cuda"] = "auto"
    attention: Literal["auto", "flash", "per_sequence"] = "auto"
    num_threads: int = Field(default=1, ge=1)
    cpu_cores: tuple[int, ...] = ()
    gradient_checkpointing: bool = False
    checkpoint_every: int = Field(default=10, ge=1)
    keep_checkpoints: int = Field(default=2, ge=1)
    max_logprob_mismatch: float = Field(default=0.1, gt=0)
    """Mean |engine - learner| logprob, nats, above which the first batch stops the run."""
    batch_s: float = Field(default=600.0, gt=0)
    """Deadline of waiting for a batch; past it the run ends with the reason."""

    @model_validator(mode="after")
    def _group_can_be_compared(self) -> "LearnerConfig":
        if self.advantage == "grpo" and self.group_size < 2:
            raise ValueError(
                f"group_size {self.group_size}: grpo compares the members of a group; give at least 2"
            )
        return self


class EvaluationConfig(Section):
    """Held-out tasks, played under evaluation leases by the same actors; never trained on."""

    num_tasks: int = Field(default=0, ge=0)
    """0: no evaluation."""
    every: int = Field(default=0, ge=0)
    """Steps between evaluations during training; 0: only before and after."""
    horizon: int = Field(default=0, ge=0)
    """0: the last horizon of the schedule, before and after alike."""
    temperature: float = Field(default=1.0, gt=0)


class LearnerRoleConfig(RoleConfig):
    """What `python -m learner` reads of a run's configuration."""

    run: RunSection = RunSection()
    model: ModelConfig
    bus: BusConfig = BusConfig()
    sampling: Sampling = Sampling()
    learner: LearnerConfig = LearnerConfig()
    horizon: HorizonConfig = HorizonConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    monitor: MonitorConfig = MonitorConfig()
