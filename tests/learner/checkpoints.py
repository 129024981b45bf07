"""Checkpoints for tests: of a trainer, by its one rank, or of any tensors without a process group."""

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from learner import shard_file
from learner.atomic_folder import atomic_folder
from learner.checkpoint import PARTS, CheckpointStore, fingerprint
from learner.checkpoint_manifest import NAME, Manifest, checksum, random_name, shard_name
from learner.checkpoint_writer import CheckpointWriter
from learner.random_state import capture_random
from learner.trainer import Trainer


def kept(store: CheckpointStore, trainer: Trainer) -> Path:
    """A checkpoint of a trainer that is alone in its process group, written."""
    writer = CheckpointWriter()
    path = writer.begin(trainer.copied(), store, {"step": trainer.step_taken}).result()
    writer.close()
    return path


def written(store: CheckpointStore, weights: Mapping[str, Tensor], step: int) -> Path:
    """A checkpoint of these weights as one rank writes it; the moments are all ones."""
    tensors = {
        f"{part}.{name}": torch.ones(1) if part == "step" else torch.ones_like(tensor)
        for name, tensor in weights.items()
        for part in PARTS
    } | {f"weight.{name}": tensor for name, tensor in weights.items()}
    with atomic_folder(store.path(step)) as draft:
        shard_file.write(draft / shard_name(0), shard_file.copied(tensors, is_first=True))
        (draft / random_name(0)).write_text(json.dumps(capture_random()))
        sums = {file.name: checksum(file) for file in draft.iterdir()}
        shapes = {name: tuple(tensor.shape) for name, tensor in weights.items()}
        manifest = Manifest(
            step=step,
            num_skipped=1,
            num_ranks=1,
            ledger={"step": step},
            fingerprint=fingerprint(shapes),
            checksums=sums,
        )
        (draft / NAME).write_text(manifest.model_dump_json())
    store.prune()
    return store.path(step)
