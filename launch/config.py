"""The whole configuration of a run: every component's own section, side by side."""

from pydantic import Field, model_validator

from actors.config import ActorConfig, ApiConfig
from common.bus.config import BusConfig
from common.config import Section
from common.messages import Sampling
from common.model_config import ModelConfig
from common.run_config import MonitorConfig, RunSection, TaskConfig
from common.weights.config import RelayConfig
from envhub.config import HubConfig
from learner.config import EvaluationConfig, HorizonConfig, LearnerConfig, SftConfig
from learner.offline.config import DpoConfig, EvolConfig


class SupervisionConfig(Section):
    """How `pronghorn run` looks after its processes."""

    max_restarts: int = Field(default=5, ge=0)
    """So often in a row a hub or an actor that dies is started again; then the run ends with the reason."""
    backoff_s: float = Field(default=1.0, ge=0)
    """Wait before the first restart; doubled each time, up to `max_backoff_s`."""
    max_backoff_s: float = Field(default=30.0, ge=0)
    stable_s: float = Field(default=600.0, gt=0)
    """A process that lived this long is forgiven its earlier deaths."""
    hub_start_s: float = Field(default=60.0, gt=0)
    """Deadline of the hub's first healthy answer."""
    learner_stop_s: float = Field(default=60.0, gt=0)
    """On Ctrl-C the learner has this long to end its step and write its checkpoint before it is killed."""
    stop_s: float = Field(default=8.0, gt=0)
    """The same for every other process."""
    learner_host_s: float = Field(default=600.0, gt=0)
    """Over several hosts: one with ranks of the learner may be away for so long; then the run ends."""
    host_silence_s: float = Field(default=60.0, ge=5.0)
    """Over several hosts: one that was not heard for so long is taken for gone, and ends what runs there."""


class RunConfig(Section):
    """Everything that `pronghorn run` needs; each role reads its own sections of the same file."""

    run: RunSection = RunSection()
    model: ModelConfig
    tasks: TaskConfig = TaskConfig()
    hub: HubConfig = HubConfig()
    bus: BusConfig = BusConfig()
    relay: RelayConfig = RelayConfig()
    actor: ActorConfig = ActorConfig()
    sampling: Sampling = Sampling()
    learner: LearnerConfig = LearnerConfig()
    horizon: HorizonConfig = HorizonConfig()
    sft: SftConfig = SftConfig()
    dpo: DpoConfig = DpoConfig()
    evol: EvolConfig = EvolConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    api: ApiConfig = ApiConfig()
    monitor: MonitorConfig = MonitorConfig()
    supervision: SupervisionConfig = SupervisionConfig()

    @model_validator(mode="after")
    def _reference_can_be_offloaded(self) -> "RunConfig":
        if self.model.lora.is_on and self.learner.reference.offload:
            raise ValueError(
                f"learner.reference.offload = true: with model.lora.rank = {self.model.lora.rank} the "
                "reference model is the policy without its adapters; allowed is false"
            )
        return self

    @model_validator(mode="after")
    def _ratio_is_honest(self) -> "RunConfig":
        if self.sampling.top_p < 1 or self.sampling.top_k > 0:
            raise ValueError(
                f"sampling.top_p = {self.sampling.top_p}, sampling.top_k = {self.sampling.top_k}: truncated "
                "sampling makes the importance ratio a lie; allowed are top_p = 1 and top_k = 0"
            )
        if self.sampling.temperature == 0:
            raise ValueError(
                "sampling.temperature = 0: greedy episodes have no importance ratio to train on; allowed is "
                "more than 0, and 0 for evaluation.temperature"
            )
        if self.sampling.max_episode_tokens > self.actor.engine.max_model_len:
            raise ValueError(
                f"sampling.max_episode_tokens = {self.sampling.max_episode_tokens}: more than "
                f"actor.engine.max_model_len = {self.actor.engine.max_model_len}"
            )
        return self
