"""Configurations of runs for tests."""

from pathlib import Path
from typing import Any

from common.config import validate
from launch.config import RunConfig


def run_config(directory: Path, **sections: Any) -> RunConfig:
    """A small run kept under `directory`; `sections` replace the defaults, one dictionary per section."""
    values: dict[str, Any] = {
        "run": {"name": "trial", "directory": str(directory)},
        "model": {"source": "small", "small": {"hidden_size": 32, "intermediate_size": 32, "num_layers": 1}},
        "tasks": {"environment": "guess_number", "action_format": "plain"},
        "monitor": {"wandb": "off", "live_view": "off"},
    }
    for name, section in sections.items():
        values[name] = values.get(name, {}) | section
    return validate(RunConfig, values)
