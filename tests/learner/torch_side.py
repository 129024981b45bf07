"""A model small enough for every test, sequences of random tokens, and a process group of one rank."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from safetensors.torch import load_file, save_file

from common.model_config import SmallModel
from learner.batch import TrainingSequence
from learner.command_channel import connect
from learner.config import LearnerConfig, LossConfig
from learner.loss import Objective, objective
from learner.model_source import make_small
from learner.trainer import Trainer, TrainerOptions

WORDS = [f"w{letter}" for letter in "abcdefghijklmnopqrstuvwxyz"]
VOCABULARY = 5 + 2 * len(WORDS)
SMALL = SmallModel(
    hidden_size=32, intermediate_size=48, num_layers=2, num_heads=4, num_kv_heads=2, max_length=256
)


def tiny_folder(path: Path, *, seed: int = 0, is_tied: bool = True, num_kv_heads: int = 2) -> Path:
    """A model folder with weights of ten times the usual scale, so that its tokens differ in probability."""
    small = SMALL.model_copy(update={"is_tied": is_tied, "num_kv_heads": num_kv_heads})
    make_small(path, small, WORDS, dtype="float32", seed=seed)
    file = path / "model.safetensors"
    weights = {name: tensor * (10 if tensor.ndim > 1 else 1) for name, tensor in load_file(file).items()}
    save_file(weights, file, metadata={"format": "pt"})
    return path


def random_sequences(lengths: Sequence[int], seed: int = 0) -> list[TrainingSequence]:
    """Sequences with a prompt, actions and more prompt in between, and random credit."""
    rng = np.random.default_rng(seed)
    made = []
    for length in lengths:
        is_action = rng.random(length) < 0.6
        is_action[0] = False
        made.append(
            TrainingSequence.of(
                tokens=rng.integers(0, VOCABULARY, length).astype(np.int32),
                is_action=is_action,
                is_trained=is_action & (rng.random(length) < 0.9),
                behaviour_logprobs=np.where(is_action, rng.uniform(-5, -3, length), 0).astype(np.float32),
                advantages=np.where(is_action, rng.normal(size=length), 0).astype(np.float32),
                versions=np.where(is_action, rng.integers(0, 3, length), -1).astype(np.int32),
            )
        )
    return made


@contextmanager
def single_rank() -> Iterator[torch.device]:
    """A process group of this process alone."""
    device = connect("cpu")
    try:
        yield device
    finally:
        dist.destroy_process_group()


def make_trainer(
    folder: Path,
    device: torch.device,
    *,
    learning_rate: float = 1e-2,
    dtype: str = "float32",
    loss: Objective | None = None,
    gradient_checkpointing: bool = False,
) -> Trainer:
    # A large epsilon: near a gradient of zero Adam would turn rounding into a full step.
    config = LearnerConfig(learning_rate=learning_rate, weight_decay=0.1, max_grad_norm=0.5, epsilon=1e-3)
    options = TrainerOptions(config, 100, dtype=dtype, gradient_checkpointing=gradient_checkpointing)
    return Trainer(folder, loss or objective(LossConfig()), options, device)
