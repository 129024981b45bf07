"""Where a run keeps what: one folder, the same names everywhere."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class RunDirectory:
    """The paths inside the folder of one run; makes nothing by itself."""

    path: Path

    @property
    def config(self) -> Path:
        """The resolved configuration; what every role of the run reads."""
        return self.path / "config.toml"

    @property
    def tasks(self) -> Path:
        """`{"train": [TaskReference...], "heldout": [...]}`, frozen when the run began."""
        return self.path / "tasks.json"

    @property
    def demonstrations(self) -> Path:
        """Expert trajectories in AgentTraj form, for the warm start."""
        return self.path / "data" / "expert.json"

    @property
    def model(self) -> Path:
        """The initial model, a Hugging Face folder."""
        return self.path / "model"

    @property
    def warm_start(self) -> Path:
        """The model after the warm start, a Hugging Face folder; policy version 0 when it exists."""
        return self.path / "warm_start"

    @property
    def final_model(self) -> Path:
        """The model after the last step, a Hugging Face folder."""
        return self.path / "final_model"

    @property
    def ledger(self) -> Path:
        """The SQLite ledger: groups, leases, trajectories, consumption."""
        return self.path / "ledger.sqlite"

    @property
    def outbox(self) -> Path:
        """One folder per actor on this host: finished trajectories that are not acknowledged."""
        return self.path / "outbox"

    @property
    def checkpoints(self) -> Path:
        """One folder per checkpoint, `step-000010`."""
        return self.path / "checkpoints"

    @property
    def metrics(self) -> Path:
        """One JSON object per learner step or evaluation."""
        return self.path / "metrics.jsonl"

    @property
    def status(self) -> Path:
        """What happens right now, for the live view; replaced atomically."""
        return self.path / "status.json"

    @property
    def summary(self) -> Path:
        """The result of the run."""
        return self.path / "summary.json"

    @property
    def logs(self) -> Path:
        """One log file per process."""
        return self.path / "logs"

    @property
    def policy_zero(self) -> Path:
        """The weights that are policy version 0: warm-started if there was a warm start."""
        return self.warm_start if self.warm_start.exists() else self.model


def write_json(path: Path, value: Any) -> None:
    """Write JSON so that `path` is absent, as it was, or complete; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(value, indent=1) + "\n")
    temporary.replace(path)
