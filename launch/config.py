"""The whole configuration of a run: every component's own section, side by side."""

from typing import Literal

from pydantic import Field, model_validator

from actors.config import ActorConfig
from common.bus.config import BusConfig
from common.config import Section
from common.messages import Sampling
from common.model_config import ModelConfig
from envhub.config import HubConfig
from learner.config import EvaluationConfig, HorizonConfig, LearnerConfig, SftConfig


class RunSection(Section):
    """Identity of the run and where it is kept."""

    name: str = Field(default="run", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    directory: str = "runs"
    """The run lives in `directory/name`; the same command there resumes it."""
    seed: int = Field(default=0, ge=0)


class TaskConfig(Section):
    """Which environment is played, and which of its tasks."""

    environment: str = "textcraft"
    action_format: Literal["plain", "react"] = "react"
    """`plain`: the whole text is the action; `react`: Thought, then `Action:`."""
    depths: tuple[int, ...] = ()
    """Only tasks of these depths, where the environment knows depths; empty: all."""
    num_train: int = Field(default=0, ge=0)
    """The first so many tasks of the train split; 0: all of them."""


class MonitorConfig(Section):
    """Where the curves go: always `metrics.jsonl`; wandb offline when there is no key."""

    wandb: Literal["auto", "online", "offline", "off"] = "auto"
    """`auto`: online when a key is set, offline otherwise."""
    project: str = "pronghorn"
    live_view: Literal["auto", "on", "off"] = "auto"


class RunConfig(Section):
    """Everything that `pronghorn run` needs; each role reads its own sections of the same file."""

    run: RunSection = RunSection()
    model: ModelConfig
    tasks: TaskConfig = TaskConfig()
    hub: HubConfig = HubConfig()
    bus: BusConfig = BusConfig()
    actor: ActorConfig = ActorConfig()
    sampling: Sampling = Sampling()
    learner: LearnerConfig = LearnerConfig()
    horizon: HorizonConfig = HorizonConfig()
    sft: SftConfig = SftConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    monitor: MonitorConfig = MonitorConfig()

    @model_validator(mode="after")
    def _ratio_is_honest(self) -> "RunConfig":
        if self.sampling.top_p < 1 or self.sampling.top_k > 0:
            raise ValueError(
                f"sampling.top_p = {self.sampling.top_p}, sampling.top_k = {self.sampling.top_k}: truncated sampling "
                "makes the importance ratio a lie; allowed are top_p = 1 and top_k = 0"
            )
        if self.sampling.max_episode_tokens > self.actor.engine.max_model_len:
            raise ValueError(
                f"sampling.max_episode_tokens = {self.sampling.max_episode_tokens}: more than "
                f"actor.engine.max_model_len = {self.actor.engine.max_model_len}"
            )
        return self
