"""`python -m learner.prepare CONFIG.toml [--section.field=value ...]`: write a run's initial model."""

import argparse
import sys
from pathlib import Path

from common.config import load
from common.errors import PronghornError
from common.log import configure_logging
from common.model_config import ModelConfig
from common.run_config import RoleConfig, RunSection
from learner.model_source import make_model


class PrepareConfig(RoleConfig):
    """What it reads of a run's configuration."""

    run: RunSection = RunSection()
    model: ModelConfig


def main() -> int:
    """Write `RunDirectory.model` unless it is there; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m learner.prepare")
    parser.add_argument("config", nargs="+", type=Path)
    known, overrides = parser.parse_known_args()
    try:
        config = load(PrepareConfig, known.config, overrides)
        configure_logging("prepare")
        folder = config.run.folder
        if not folder.model.exists():
            words = folder.path / "vocabulary.json"
            make_model(folder.model, config.model, vocabulary=words, seed=config.run.seed)
    except PronghornError as error:
        print(f"pronghorn prepare: {error}", file=sys.stderr)  # noqa: T201 - the one line for the person
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
