"""Checkpoints: all that a later step depends on, in a folder that is whole or absent, verified when read.

    checkpoints/step-000010/
        rank-00000.safetensors   that rank's shards: weight.NAME, exp_avg.NAME, exp_avg_sq.NAME, step.NAME
        random-00000.json        the state of that rank's Python, NumPy and torch generators
        manifest.json            step, skipped steps, ledger position, model, checksums; written last

Every rank writes its own shards (`checkpoint_writer.py`), and any number of ranks reads them again.
"""

import hashlib
import json
import logging
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from common.errors import CheckpointError
from common.seeding import derive_seed
from learner import shard_file
from learner.atomic_folder import is_draft
from learner.checkpoint_manifest import NAME, Manifest, random_name, read_manifest, verify
from learner.random_state import restore_random, seed_random

log = logging.getLogger(__name__)

WEIGHT = "weight"
MOMENTS = ("exp_avg", "exp_avg_sq")
COUNT = "step"
PARTS = (WEIGHT, *MOMENTS, COUNT)
"""What is kept of every parameter, as PART.NAME."""

_STEP = re.compile(r"step-(\d{6,})")


@dataclass(frozen=True, eq=False)
class TrainerState:
    """All that later steps depend on; whole float32 tensors on the CPU."""

    weights: dict[str, Tensor]
    """By Hugging Face name; a tied one once."""
    optimizer: dict[str, Tensor]
    """`exp_avg.NAME`, `exp_avg_sq.NAME`, and `step.NAME` ([1])."""
    step: int
    """The last step taken: the position of the learning-rate schedule."""
    num_skipped: int


class CheckpointStore:
    """The checkpoints of one run, a folder of folders: the newest `keep`, and every `keep_every` steps one.

    Those of steps that `keep_every` divides are kept for ever; 0: none is.
    """

    def __init__(self, folder: Path, keep: int = 2, keep_every: int = 0) -> None:
        self.folder = folder
        self._keep = keep
        self._keep_every = keep_every

    def path(self, step: int) -> Path:
        """Where the checkpoint of this step is or will be."""
        return self.folder / f"step-{step:06d}"

    def all(self) -> list[Path]:
        """Whole checkpoints, oldest first; drafts and strange names are passed over."""
        if not self.folder.is_dir():
            return []
        whole = (path for path in self.folder.iterdir() if _STEP.fullmatch(path.name))
        return sorted((path for path in whole if (path / NAME).is_file()), key=step_of)

    def latest(self, before: int | None = None) -> Path | None:
        """The newest whole checkpoint, of a step below `before` if that is given; None without one."""
        return next((path for path in reversed(self.all()) if before is None or step_of(path) < before), None)

    def prune(self) -> None:
        """Remove what the policy does not keep, and drafts that a crash left behind."""
        if not self.folder.is_dir():
            return
        drafts = [path for path in self.folder.iterdir() if is_draft(path)]
        old = [path for path in self.all()[: -self._keep] if not self._is_kept_for_ever(step_of(path))]
        for path in [*old, *drafts]:
            # The manifest first: what is half removed must not look whole.
            (path / NAME).unlink(missing_ok=True)
            shutil.rmtree(path, ignore_errors=True)

    def _is_kept_for_ever(self, step: int) -> bool:
        return bool(self._keep_every) and step % self._keep_every == 0


def step_of(path: Path) -> int:
    """The step of a checkpoint, by the name of its folder."""
    return int(path.name.removeprefix("step-"))


def load_checkpoint(path: Path) -> TrainerState:
    """Read and verify one checkpoint, whole, in one process that need not be a rank.

    Raises CheckpointError, naming the file, when one is missing, has another checksum or cannot be read.
    """
    manifest = read_manifest(path)
    verify(path, manifest)
    sizes = checked_sizes(path, manifest)
    tensors = {name: torch.empty(size) for name, size in sizes.items()}
    shard_file.read_into(path, tensors)
    prefix = f"{WEIGHT}."
    weights = {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
    optimizer = {n: t for n, t in tensors.items() if not n.startswith(prefix)}
    return TrainerState(weights, optimizer, manifest.step, manifest.num_skipped)


def checked_sizes(path: Path, manifest: Manifest) -> dict[str, tuple[int, ...]]:
    """The whole shape of every tensor in it; CheckpointError when the manifest is of another model."""
    sizes = shard_file.sizes(path)
    found = fingerprint(weight_shapes(sizes))
    if found != manifest.fingerprint:
        raise CheckpointError(f"{path}: weights of model {found}, manifest of {manifest.fingerprint}")
    return sizes


def weight_shapes(sizes: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """Of all tensors in a checkpoint those of the weights, by Hugging Face name."""
    prefix = f"{WEIGHT}."
    return {name.removeprefix(prefix): size for name, size in sizes.items() if name.startswith(prefix)}


def refuse_another_model(sizes: Mapping[str, tuple[int, ...]], shapes: Mapping[str, tuple[int, ...]]) -> None:
    """CheckpointError, naming the weight, unless tensors of these sizes are the state of that model."""
    weights = weight_shapes(sizes)
    for name in sorted(shapes.keys() | weights.keys()):
        if weights.get(name) != shapes.get(name):
            raise CheckpointError(
                f"the checkpoint is of another model: weight {name} has shape {weights.get(name, 'none')} "
                f"in it and {shapes.get(name, 'none')} in the model"
            )
        for part in PARTS:
            if f"{part}.{name}" not in sizes:
                raise CheckpointError(f"the checkpoint has no {part} for weight {name}")


def restore(
    path: Path, tensors: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, ...]], *, rank: int
) -> Manifest:
    """Fill one rank's `tensors` and set its generators to where they were; checksums are not looked at.

    Those of a rank that was not there are seeded anew. Raises CheckpointError, before anything has changed,
    when names or shapes are not those of the model's `shapes`.
    """
    manifest = read_manifest(path)
    refuse_another_model(checked_sizes(path, manifest), shapes)
    shard_file.read_into(path, tensors)
    if rank < manifest.num_ranks:
        restore_random(json.loads((path / random_name(rank)).read_text()))
    else:
        seed_random(derive_seed(manifest.step, "rank", rank))
    return manifest


def fingerprint(shapes: Mapping[str, tuple[int, ...]]) -> str:
    """Which model: 16 hexadecimal digits over every weight's name and shape."""
    text = json.dumps(sorted((name, list(shape)) for name, shape in shapes.items()))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
