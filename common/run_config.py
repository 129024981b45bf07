"""Sections that every role of a run reads: which run, which tasks, which monitors."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from common.action_format import ActionFormat
from common.config import Section
from common.run_directory import RunDirectory


class RoleConfig(BaseModel):
    """One role's sections of a run's configuration; the sections of other roles are none of its business."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class RunSection(Section):
    """Identity of the run and where it is kept."""

    name: str = Field(default="run", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    directory: str = "runs"
    """The run lives in `directory/name`; the same command there resumes it."""
    seed: int = Field(default=0, ge=0)

    @property
    def folder(self) -> RunDirectory:
        """The run directory."""
        return RunDirectory(Path(self.directory) / self.name)


class TaskConfig(Section):
    """Which environment is played, and which of its tasks."""

    environment: str = "textcraft"
    mixture: dict[str, Annotated[float, Field(gt=0)]] = Field(default_factory=dict)
    """Several environments in one run, each with its share of the groups; empty: `environment` alone."""
    action_format: ActionFormat = "react"
    """`plain`: the whole text is the action; `react`: Thought, then `Action:`; the others: one call."""
    depths: tuple[int, ...] = ()
    """Only tasks of these depths, where the environment knows depths; empty: all."""
    num_train: int = Field(default=0, ge=0)
    """The first so many tasks of each environment's train split; 0: all of them."""
    train_items: tuple[str, ...] = ()
    """Files of item ids (AgentGym-RL-Data-ID, AgentEval, AgentTraj) to train on; empty: the train split."""
    heldout_items: tuple[str, ...] = ()
    """The same for held-out tasks, which are never trained on; empty: `heldout_split`."""
    heldout_split: Literal["test", "unseen"] = "test"
    """`unseen`: surroundings that no training task has, where the environment has such tasks."""

    @property
    def environments(self) -> tuple[str, ...]:
        """Every environment that is played."""
        return tuple(self.mixture) or (self.environment,)


class MonitorConfig(Section):
    """Where the curves go: always `metrics.jsonl`; wandb offline when there is no key."""

    wandb: Literal["auto", "online", "offline", "off"] = "auto"
    """`auto`: online when a key is set, offline otherwise."""
    project: str = "pronghorn"
    live_view: Literal["auto", "on", "off"] = "auto"
