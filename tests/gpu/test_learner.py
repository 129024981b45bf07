"""The learner on a CUDA device: the varlen kernel, bfloat16 with float32 masters, NCCL of one rank."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist

from common.model_config import SmallModel
from learner.batch import TrainingSequence
from learner.checkpoint import CheckpointStore
from learner.command_channel import connect
from learner.config import LearnerConfig
from learner.loss import imitation, objective
from learner.model_source import make_small
from learner.packing import pack
from learner.trainer import Trainer, TrainerOptions
from tests.learner.checkpoints import kept
from tests.learner.torch_side import WORDS, random_sequences

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

LENGTHS = [700, 300, 300, 120, 64, 33, 9, 2]
MODEL = SmallModel(hidden_size=256, intermediate_size=512, num_layers=2, num_heads=4, num_kv_heads=2)


@pytest.fixture
def device() -> Iterator[torch.device]:
    yield connect("cuda")
    dist.destroy_process_group()


@pytest.fixture(params=[2, 4], ids=["grouped", "full"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """With and without grouped key-value heads."""
    small = MODEL.model_copy(update={"num_kv_heads": request.param})
    make_small(tmp_path / "model", small, WORDS, dtype="float32", seed=0)
    return tmp_path / "model"


def trainer(folder: Path, device: torch.device, dtype: str, attention: str, **options: object) -> Trainer:
    config = LearnerConfig(learning_rate=1e-3)
    chosen = TrainerOptions(config, 100, dtype=dtype, attention=attention, **options)  # type: ignore[arg-type]
    return Trainer(folder, objective(config.loss), chosen, device)


def scored(made: Trainer, sequences: list[TrainingSequence]) -> np.ndarray:
    """Packed together."""
    batch = pack(sequences, microbatch_tokens=4096)
    return np.concatenate(made.logprobs(batch.ranks[0], temperature=1.0))


def test_packed_equals_unpacked_with_the_varlen_kernel(folder: Path, device: torch.device) -> None:
    sequences = random_sequences(LENGTHS)
    made = trainer(folder, device, "bfloat16", "flash")
    alone = np.concatenate([scored(made, [sequence]) for sequence in sequences])
    np.testing.assert_allclose(scored(made, sequences), alone, atol=0.05)


def test_the_varlen_kernel_computes_what_attention_per_sequence_computes(
    folder: Path, device: torch.device
) -> None:
    """In bfloat16 against float32, within rounding; losses and gradients alike."""
    batch = pack(random_sequences(LENGTHS), microbatch_tokens=1024)
    done = [
        trainer(folder, device, dtype, attention).step(
            batch.ranks[0], num_action_tokens=batch.num_action_tokens, step=1, temperature=1.0
        )
        for dtype, attention in (("bfloat16", "flash"), ("bfloat16", "per_sequence"), ("float32", "auto"))
    ]
    for other in done[1:]:
        assert done[0].loss == pytest.approx(other.loss, rel=0.02, abs=0.01)
        assert done[0].grad_norm == pytest.approx(other.grad_norm, rel=0.05)


def test_packed_equals_unpacked_in_float32(folder: Path, device: torch.device) -> None:
    sequences = random_sequences(LENGTHS)
    made = trainer(folder, device, "float32", "auto")
    alone = np.concatenate([scored(made, [sequence]) for sequence in sequences])
    np.testing.assert_allclose(scored(made, sequences), alone, atol=1e-4)


@pytest.mark.parametrize("gradient_checkpointing", [False, True])
def test_a_bfloat16_learner_learns(
    folder: Path, device: torch.device, tmp_path: Path, gradient_checkpointing: bool
) -> None:
    shown = [replace(s, advantages=s.is_action.astype(np.float32)) for s in random_sequences(LENGTHS[2:])]
    batch = pack(shown, microbatch_tokens=512)
    options = TrainerOptions(
        LearnerConfig(learning_rate=1e-3),
        100,
        dtype="bfloat16",
        gradient_checkpointing=gradient_checkpointing,
    )
    made = Trainer(folder, imitation, options, device)
    losses = [
        made.step(batch.ranks[0], num_action_tokens=batch.num_action_tokens, step=step, temperature=1.0).loss
        for step in range(1, 61)
    ]
    assert losses[-1] < 0.8 * losses[0]
    state = made.state()
    assert all(
        tensor.dtype == torch.float32 and tensor.device.type == "cpu" for tensor in state.weights.values()
    )
    made.load(kept(CheckpointStore(tmp_path / "checkpoints"), made))
    names = {name for name, tensor in made.named_weights("bfloat16") if tensor.dtype == torch.bfloat16}
    assert "lm_head.weight" in names
