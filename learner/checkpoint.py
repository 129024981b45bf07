"""Checkpoints: all that a later step depends on, in a folder that is whole or absent, verified when read.

    checkpoints/step-000010/
        weights.safetensors      float32 masters, by Hugging Face name
        optimizer.safetensors    exp_avg.NAME, exp_avg_sq.NAME, step.NAME
        random.json              the state of Python's, NumPy's and torch's generators of rank 0
        manifest.json            step, skipped steps, ledger position, model fingerprint, checksums

Tensors are whole, so a run may resume with another number of ranks.
"""

import hashlib
import json
import logging
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import xxhash
from pydantic import Field, ValidationError, model_validator
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from common.errors import CheckpointError, PreflightError
from common.trajectory import Record
from learner.atomic_folder import atomic_folder, is_draft
from learner.random_state import capture_random, restore_random

log = logging.getLogger(__name__)

MOMENTS = ("exp_avg", "exp_avg_sq")
_NAME = re.compile(r"step-\d{6,}")
_FILES = ("weights.safetensors", "optimizer.safetensors", "random.json")


class Manifest(Record):
    """What a checkpoint says about itself."""

    format: Literal[1] = 1
    step: int = Field(ge=0)
    num_skipped: int = Field(ge=0)
    ledger: dict[str, Any]
    fingerprint: str
    checksums: dict[str, str]
    """xxh3-64 of every other file, hexadecimal."""

    @model_validator(mode="after")
    def _is_complete(self) -> "Manifest":
        if missing := set(_FILES) - self.checksums.keys():
            raise ValueError(f"no checksum of {min(missing)}")
        return self


@dataclass(frozen=True, eq=False)
class TrainerState:
    """All that later steps depend on; whole float32 tensors on the CPU."""

    weights: dict[str, Tensor]
    """By Hugging Face name; a tied one once."""
    optimizer: dict[str, Tensor]
    """`exp_avg.NAME`, `exp_avg_sq.NAME`, and `step.NAME` (0-dimensional)."""
    step: int
    """The last step taken: the position of the learning-rate schedule."""
    num_skipped: int

    def refuse_unless(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Raise CheckpointError, naming the weight, unless this is the state of a model with these shapes."""
        for name in sorted(shapes.keys() | self.weights.keys()):
            here = tuple(self.weights[name].shape) if name in self.weights else None
            if here != shapes.get(name):
                raise CheckpointError(
                    f"the checkpoint is of another model: weight {name} has shape {here or 'none'} in it "
                    f"and {shapes.get(name) or 'none'} in the model"
                )
            for part in (*MOMENTS, "step"):
                if f"{part}.{name}" not in self.optimizer:
                    raise CheckpointError(f"the checkpoint has no {part} for weight {name}")


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """What was read back, verified."""

    state: TrainerState
    ledger: dict[str, Any]
    """The ledger position that it belongs to, as the caller gave it."""
    random: dict[str, Any]

    def restore_random(self) -> None:
        """Set Python's, NumPy's and torch's generators to where they were."""
        restore_random(self.random)


class CheckpointStore:
    """The checkpoints of one run: a folder of folders, the newest `keep` of them."""

    def __init__(self, folder: Path, keep: int = 2) -> None:
        self.folder = folder
        self._keep = keep

    def save(self, state: TrainerState, ledger: Mapping[str, Any]) -> Path:
        """Write `step-NNNNNN`, whole or not at all, then remove what is older than the newest `keep`.

        Includes the generators of this process as they are now. Raises PreflightError when the disk
        refuses; the checkpoints there stay.
        """
        path = self.folder / f"step-{state.step:06d}"
        try:
            with atomic_folder(path) as draft:
                _write(draft, state, ledger)
        except (OSError, SafetensorError) as error:
            raise PreflightError(f"checkpoint {path}: {error}") from error
        self.prune()
        log.info("kept checkpoint=%s", path.name)
        return path

    def all(self) -> list[Path]:
        """Whole checkpoints, oldest first; drafts and strange names are passed over."""
        if not self.folder.is_dir():
            return []
        whole = (path for path in self.folder.iterdir() if _NAME.fullmatch(path.name))
        return sorted((path for path in whole if (path / "manifest.json").is_file()), key=_step_of)

    def latest(self) -> Path | None:
        """The newest whole checkpoint; None when there is none."""
        return next(reversed(self.all()), None)

    def prune(self) -> None:
        """Remove all but the newest `keep`, and drafts that a crash left behind."""
        drafts = [path for path in self.folder.iterdir() if is_draft(path)]
        for path in [*self.all()[: -self._keep], *drafts]:
            shutil.rmtree(path, ignore_errors=True)


def load_checkpoint(path: Path) -> Checkpoint:
    """Read and verify one checkpoint.

    Raises CheckpointError, naming the file, when one is missing, has another checksum or cannot be read.
    """
    try:
        manifest = Manifest.model_validate_json((path / "manifest.json").read_text())
        for name in _FILES:
            _verify(path / name, manifest.checksums[name])
        weights, optimizer = (load_file(path / name) for name in _FILES[:2])
        random = json.loads((path / "random.json").read_text())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise CheckpointError(f"{path / 'manifest.json'}: {where} {first['msg']}") from error
    except (OSError, ValueError, SafetensorError) as error:
        raise CheckpointError(f"{path}: {error}") from error
    found = fingerprint({name: tuple(tensor.shape) for name, tensor in weights.items()})
    if found != manifest.fingerprint:
        raise CheckpointError(f"{path}: weights of model {found}, manifest of {manifest.fingerprint}")
    state = TrainerState(weights, optimizer, manifest.step, manifest.num_skipped)
    return Checkpoint(state, manifest.ledger, random)


def fingerprint(shapes: Mapping[str, tuple[int, ...]]) -> str:
    """Which model: 16 hexadecimal digits over every weight's name and shape."""
    text = json.dumps(sorted((name, list(shape)) for name, shape in shapes.items()))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _write(draft: Path, state: TrainerState, ledger: Mapping[str, Any]) -> None:
    save_file(state.weights, draft / "weights.safetensors")
    save_file(state.optimizer, draft / "optimizer.safetensors")
    (draft / "random.json").write_text(json.dumps(capture_random()))
    manifest = Manifest(
        step=state.step,
        num_skipped=state.num_skipped,
        ledger=dict(ledger),
        fingerprint=fingerprint({name: tuple(t.shape) for name, t in state.weights.items()}),
        checksums={name: _checksum(draft / name) for name in _FILES},
    )
    (draft / "manifest.json").write_text(manifest.model_dump_json(indent=2) + "\n")


def _verify(file: Path, expected: str) -> None:
    if not file.is_file():
        raise CheckpointError(f"{file}: missing")
    found = _checksum(file)
    if found != expected:
        raise CheckpointError(f"{file}: checksum {found}, the manifest says {expected}: the file is torn")


def _checksum(file: Path) -> str:
    digest = xxhash.xxh3_64()
    with file.open("rb") as stream:
        while chunk := stream.read(1 << 22):
            digest.update(chunk)
    return digest.hexdigest()


def _step_of(path: Path) -> int:
    return int(path.name.removeprefix("step-"))
