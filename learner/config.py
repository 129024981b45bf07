"""How the learner learns: batch, advantage, loss, optimizer, staleness, horizon, checkpoints."""

from typing import Literal

from pydantic import Field, model_validator

from common.bus.config import BusConfig
from common.config import Section
from common.messages import Sampling
from common.model_config import ModelConfig
from common.run_config import MonitorConfig, RoleConfig, RunSection
from common.weights.config import RelayConfig
from learner.algorithm_config import AdvantageConfig, CriticConfig, GuardConfig, LossConfig, ReferenceConfig


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
    validation_share: float = Field(default=0.0, ge=0, lt=1)
    """Of the trajectories, kept out of training; their loss is measured at the end."""
    checkpoint_every: int = Field(default=200, ge=1)
    """Steps after which the training's own state is kept, for a start of the same command to go on from."""


class CurriculumConfig(Section):
    """Which tasks are played more often, by how often their last groups succeeded."""

    kind: Literal["off", "pools"] = "off"
    """`off`: every task once per epoch; `pools`: unseen, hard, middle and easy ones by the weights below."""
    hard_to: float = Field(default=0.1, ge=0, lt=1)
    """A task that succeeds at most this often is hard."""
    easy_from: float = Field(default=0.8, gt=0, le=1)
    """A task that succeeds at least this often is easy."""
    recent_groups: int = Field(default=2, ge=1)
    """Judged on so many last groups of the task."""
    unseen: float = Field(default=1.0, ge=0)
    """How often a task that was never played is chosen, compared with those of the other pools."""
    hard: float = Field(default=0.25, ge=0)
    middle: float = Field(default=1.0, ge=0)
    easy: float = Field(default=0.25, ge=0)

    @model_validator(mode="after")
    def _pools_are_apart(self) -> "CurriculumConfig":
        if self.hard_to >= self.easy_from:
            raise ValueError(f"hard_to = {self.hard_to:g}: must be below easy_from = {self.easy_from:g}")
        if not self.unseen + self.hard + self.middle + self.easy:
            raise ValueError("unseen, hard, middle and easy are all 0: give one of them a weight")
        return self


def _first_change(section: Section) -> str:
    """The first field that is not what it is by default."""
    fields = type(section).model_fields
    return next(name for name, field in fields.items() if getattr(section, name) != field.default)


class LearnerConfig(OptimizerConfig):
    """One logical learner of any number of ranks."""

    steps: int = Field(default=100, ge=0)
    groups_per_step: int = Field(default=8, ge=1)
    group_size: int = Field(default=8, ge=1)
    epochs: int = Field(default=1, ge=1)
    """Passes over the batch of a step."""
    minibatches: int = Field(default=1, ge=1)
    """Optimizer updates per pass; the policy version rises by one per step all the same."""
    drops_zero_variance: bool = True
    """Where a group is compared: one whose members all scored the same teaches nothing, and is refilled."""
    mask_truncated: bool = False
    """Do not train on trajectories that were cut."""
    advantage: AdvantageConfig = AdvantageConfig()
    loss: LossConfig = LossConfig()
    critic: CriticConfig = CriticConfig()
    reference: ReferenceConfig = ReferenceConfig()
    guards: GuardConfig = GuardConfig()
    staleness: StalenessConfig = StalenessConfig()
    curriculum: CurriculumConfig = CurriculumConfig()
    microbatch_tokens: int = Field(default=4096, ge=64)
    """Token budget of one packed micro-batch."""
    num_ranks: int = Field(default=1, ge=1)
    """On each host."""
    num_hosts: int = Field(default=1, ge=1)
    """Hosts that share the learner; each runs `pronghorn learner` with the same configuration."""
    rendezvous: str = Field(default="", pattern=r"^$|^(\[[0-9A-Fa-f:.]+\]|[^\s:/]+):[0-9]{1,5}$")
    """With several hosts: `HOST:PORT` of the one whose first process leads, where they meet."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    attention: Literal["auto", "flash", "per_sequence"] = "auto"
    num_threads: int = Field(default=1, ge=1)
    cpu_cores: tuple[int, ...] = ()
    gradient_checkpointing: bool = False
    checkpoint_every: int = Field(default=10, ge=1)
    keep_checkpoints: int = Field(default=2, ge=1)
    """So many newest ones."""
    keep_every: int = Field(default=0, ge=0)
    """Checkpoints of steps that this divides are kept for ever, a multiple of `checkpoint_every`; 0: none."""
    max_logprob_mismatch: float = Field(default=0.1, gt=0)
    """Mean |engine - learner| logprob, nats, above which the first batch stops the run."""
    batch_s: float = Field(default=600.0, gt=0)
    """Deadline of waiting for a batch; past it the run ends with the reason."""

    @property
    def world_size(self) -> int:
        """Ranks on all hosts."""
        return self.num_ranks * self.num_hosts

    @property
    def rendezvous_address(self) -> tuple[str, int]:
        """Host and port of `rendezvous`, which must be set."""
        host, _, port = self.rendezvous.rpartition(":")
        return host.strip("[]"), int(port)

    @model_validator(mode="after")
    def _hosts_can_meet(self) -> "LearnerConfig":
        if self.num_hosts > 1 and not self.rendezvous:
            raise ValueError(f"num_hosts = {self.num_hosts}: give rendezvous = 'HOST:PORT', where they meet")
        return self

    @model_validator(mode="after")
    def _group_can_be_compared(self) -> "LearnerConfig":
        if self.advantage.compares_group and self.group_size < 2:
            raise ValueError(
                f"group_size = {self.group_size}: {self.advantage.kind} compares the members of a group; "
                "give at least 2"
            )
        return self

    @model_validator(mode="after")
    def _what_is_kept_for_ever_is_written(self) -> "LearnerConfig":
        if self.keep_every % self.checkpoint_every:
            raise ValueError(
                f"keep_every = {self.keep_every}: checkpoints are written every "
                f"{self.checkpoint_every} steps; allowed are 0 and multiples of learner.checkpoint_every"
            )
        return self

    @model_validator(mode="after")
    def _reference_is_there_when_it_is_set(self) -> "LearnerConfig":
        if self.reference != ReferenceConfig() and not self.loss.needs_reference:
            raise ValueError(
                f"reference.{_first_change(self.reference)}: no reference model is held with "
                "loss.reference_kl = 0; allowed is a weight above 0, or none of its options"
            )
        return self

    @model_validator(mode="after")
    def _critic_is_there_when_it_is_read(self) -> "LearnerConfig":
        kind, critic = self.advantage.kind, self.critic
        if self.advantage.needs_critic and critic.kind == "none":
            raise ValueError(
                f"advantage.kind = {kind!r} reads a critic: give critic.kind = 'separate' or 'shared'"
            )
        if self.advantage.needs_critic and self.advantage.bootstraps and self.advantage.gamma == 1:
            raise ValueError(
                "advantage.gamma = 1 with advantage.bootstraps: an episode that is cut for ever would be "
                "worth as much as success; give gamma below 1 (0.95 to begin with), or bootstraps = false"
            )
        if not self.advantage.needs_critic and critic != CriticConfig():
            raise ValueError(
                f"critic.{_first_change(critic)}: advantage.kind = {kind!r} reads no critic; "
                "allowed are none of its options, or advantage.kind = 'gae' or 'vtrace'"
            )
        return self


class EvaluationConfig(Section):
    """Held-out tasks, played under evaluation leases by the same actors; never trained on."""

    num_tasks: int = Field(default=0, ge=0)
    """0: no evaluation."""
    samples: int = Field(default=1, ge=1)
    """Plays per task: k of avg@k and pass@k."""
    every: int = Field(default=0, ge=0)
    """Steps between evaluations during training; 0: only before and after."""
    is_concurrent: bool = True
    """Those during training are played while it goes on; False: it waits, as it does before and after."""
    max_share: float = Field(default=0.25, gt=0, le=1)
    """`is_concurrent`: held-out episodes take at most this share of the actors' places at a time."""
    deadline_s: float = Field(default=3600.0, gt=0)
    """`is_concurrent`: an evaluation that is not played by then is given up, and nothing of it counts."""
    horizon: int = Field(default=0, ge=0)
    """0: the last horizon of the schedule, before and after alike."""
    temperature: float = Field(default=1.0, ge=0)
    """0: greedy, always the likeliest token."""

    @model_validator(mode="after")
    def _samples_differ(self) -> "EvaluationConfig":
        if self.samples > 1 and self.temperature == 0:
            raise ValueError(
                f"samples = {self.samples}, temperature = 0: greedy plays of a task are alike; "
                "allowed are samples = 1 or temperature > 0"
            )
        return self


class LearnerRoleConfig(RoleConfig):
    """What `python -m learner` reads of a run's configuration."""

    run: RunSection = RunSection()
    model: ModelConfig
    bus: BusConfig = BusConfig()
    relay: RelayConfig = RelayConfig()
    sampling: Sampling = Sampling()
    learner: LearnerConfig = LearnerConfig()
    horizon: HorizonConfig = HorizonConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    monitor: MonitorConfig = MonitorConfig()
