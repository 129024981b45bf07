"""`python -m learner.prepare CONFIG.toml [--section.field=value ...]`: write a run's initial model."""

import sys

from common.model_config import ModelConfig
from common.role import run_role
from common.run_config import RoleConfig, RunSection
from learner.model_source import make_model


class PrepareConfig(RoleConfig):
    """What it reads of a run's configuration."""

    run: RunSection = RunSection()
    model: ModelConfig


def main() -> int:
    """Write `RunDirectory.model` unless it is there; the exit code."""
    return run_role("prepare", PrepareConfig, _prepare)


def _prepare(config: PrepareConfig) -> int:
    folder = config.run.folder
    if not folder.model.exists():
        words = folder.path / "vocabulary.json"
        make_model(folder.model, config.model, vocabulary=words, seed=config.run.seed)
    return 0


if __name__ == "__main__":
    sys.exit(main())
