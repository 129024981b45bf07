"""How many parameters a run will train and send, before its model exists."""

from pathlib import Path

import pytest
import torch

from common.config import load
from common.errors import ConfigurationError
from common.model_config import LoraConfig
from launch.config import RunConfig
from launch.model_size import num_parameters, num_trained, shared_memory_bytes
from learner import lora
from learner.model import load_causal_lm
from tests.learner.torch_side import SMALL, tiny_folder

ROOT = Path(__file__).parents[2]


def config(*overrides: str) -> RunConfig:
    return load(RunConfig, [ROOT / "configs" / "debug.toml"], overrides)


@pytest.mark.parametrize("is_made", [True, False])
def test_adapters_are_counted_from_the_shape_of_the_model(tmp_path: Path, is_made: bool) -> None:
    folder = tiny_folder(tmp_path / "model")
    model = load_causal_lm(folder)
    lora.inject(model, LoraConfig(rank=4), torch.float32)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    source = [
        '--model.source="small"',
        *(f"--model.small.{k}={v}" for k, v in SMALL.model_dump().items() if k != "is_tied"),
    ]
    if is_made:
        source = ['--model.source="path"', f"--model.path={folder}"]
    found = num_trained(config("--model.lora.rank=4", *source))
    embeddings = 4 * sum(model.get_input_embeddings().weight.shape) if is_made else 0
    assert found == trained + embeddings  # a folder's embeddings are counted though they are not adapted


def test_adapters_need_a_small_share_of_shared_memory() -> None:
    whole, adapters = config(), config("--model.lora.rank=1")
    assert num_trained(whole) == num_parameters(whole)
    assert shared_memory_bytes(adapters) < shared_memory_bytes(whole) / 10


def test_the_policy_without_adapters_cannot_be_offloaded() -> None:
    kl = ("--learner.loss.reference_kl=0.1", "--learner.reference.offload=true")
    assert config(*kl).learner.reference.offload
    with pytest.raises(ConfigurationError, match=r"offload = true: with model\.lora\.rank = 4"):
        config(*kl, "--model.lora.rank=4")
