"""`python -m learner.export RUN/config.toml --export.source=PATH --export.target=FOLDER`: weights as a model.

Reads a checkpoint, or a weight file of a live learner, and writes a Hugging Face folder that engines play
with; adapters are merged.
"""

import sys
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from common.config import Section
from common.errors import CheckpointError, ConfigurationError
from common.model_config import ModelConfig
from common.role import run_role
from common.run_config import RoleConfig, RunSection
from learner.checkpoint import load_checkpoint
from learner.config import LearnerConfig
from learner.dtypes import DTYPES
from learner.model_folder import write_model_folder


class ExportSection(Section):
    """From where to where."""

    source: str
    """A checkpoint folder, or a safetensors file of whole weights."""
    target: str
    """The folder to write; one that is there is replaced."""


class ExportConfig(RoleConfig):
    """What it reads of a run's configuration."""

    run: RunSection = RunSection()
    model: ModelConfig
    learner: LearnerConfig = LearnerConfig()
    export: ExportSection


def main() -> int:
    """Write the folder; the exit code."""
    return run_role("export", ExportConfig, export)


def export(config: ExportConfig) -> int:
    """Write `export.target`, whole or not at all; 0.

    Raises CheckpointError when the source is torn or of another model than the run's, ConfigurationError
    when the run has no model.
    """
    source, target = Path(config.export.source), Path(config.export.target)
    like = config.run.folder.policy_zero
    if not (like / "config.json").exists():
        raise ConfigurationError(f"{config.run.folder.path}: the run has no model folder")
    if config.model.lora.is_on:
        _merge(config, like, source, target)
        return 0
    weights = load_checkpoint(source).weights if source.is_dir() else _read(source)
    dtype = DTYPES[config.model.dtype]
    chosen = {name: tensor.to(dtype) for name, tensor in _policy(weights, like, source).items()}
    write_model_folder(target, like=like, weights=chosen, dtype=config.model.dtype)
    return 0


def _merge(config: ExportConfig, like: Path, source: Path, target: Path) -> None:
    """The way of a run's last step: the trainer knows which adapter belongs to which weight."""
    from learner.ranks import Ranks, open_trainer  # seconds of import that whole weights need not pay

    if not source.is_dir():
        raise ConfigurationError(f"{source}: holds adapters alone; give a checkpoint")
    with Ranks(open_trainer(like, config.learner, config.model)) as ranks:
        ranks.load(source)
        ranks.save_huggingface(target)


def _read(file: Path) -> dict[str, Tensor]:
    try:
        return dict(load_file(file))
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{file}: {error}") from error


def _policy(weights: dict[str, Tensor], like: Path, source: Path) -> dict[str, Tensor]:
    """The weights that the model has, in whatever order; a critic's are left out."""
    shapes: dict[str, tuple[int, ...]] = {}
    for file in sorted(like.glob("*.safetensors")):
        with safe_open(str(file), framework="pt") as opened:
            for name in opened.keys():  # noqa: SIM118 - not a mapping
                shapes[name] = tuple(opened.get_slice(name).get_shape())
    for name, shape in shapes.items():
        found = tuple(weights[name].shape) if name in weights else None
        if found != shape:
            raise CheckpointError(
                f"{source}: weight {name} has shape {found or 'none'}, in the run's model {shape}"
            )
    return {name: weights[name] for name in shapes}


if __name__ == "__main__":
    sys.exit(main())
