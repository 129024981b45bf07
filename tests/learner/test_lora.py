"""Adapters in the learner: trained alone, the base untouched, merged when the model leaves."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from common.config import load
from common.errors import CheckpointError, ConfigurationError
from common.model_config import LoraConfig, ModelConfig
from learner import lora
from learner.algorithm_config import CriticConfig, LossConfig
from learner.batch import Batch
from learner.checkpoint import CheckpointStore
from learner.config import LearnerConfig
from learner.loss import objective
from learner.model import load_causal_lm
from learner.offline.progress import opened
from learner.packing import pack
from learner.trainer import Trainer, TrainerOptions
from tests.learner.checkpoints import kept
from tests.learner.torch_side import VOCABULARY, random_sequences, single_rank, tiny_folder

LORA = LoraConfig(rank=4, alpha=8.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_folder(tmp_path_factory.mktemp("lora") / "model")


@pytest.fixture
def device() -> Iterator[torch.device]:
    with single_rank() as device:
        yield device


def made(
    folder: Path, device: torch.device, config: LoraConfig = LORA, dtype: str = "float32", **options: Any
) -> Trainer:
    optimizer = LearnerConfig(learning_rate=1e-2, weight_decay=0.1)
    chosen = TrainerOptions(optimizer, 100, dtype=dtype, lora=config, **options)
    return Trainer(folder, objective(LossConfig()), chosen, device)


def batch(seed: int = 0) -> Batch:
    return pack(random_sequences([40, 22, 9], seed), microbatch_tokens=80)


def take(trainer: Trainer, *steps: int) -> list[float]:
    """The losses of these steps."""
    losses = []
    for step in steps:
        given = batch(step)
        done = trainer.step(
            given.ranks[0], num_action_tokens=given.num_action_tokens, step=step, temperature=1.0
        )
        losses.append(done.loss)
    return losses


def said(trainer: Trainer, name: str = "proximal") -> np.ndarray:
    return np.concatenate(
        [part[name] for part in trainer.score(batch().ranks[0], temperature=1.0, wants=[name])]
    )


def test_a_learner_without_adapters_does_without_peft() -> None:
    program = "import sys, learner.ranks; sys.exit('peft' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=Path(__file__).parents[2]).returncode == 0


def test_the_first_adapter_changes_nothing_at_all(folder: Path, device: torch.device) -> None:
    whole = made(folder, device, LoraConfig())
    np.testing.assert_array_equal(said(made(folder, device)), said(whole))


def test_only_adapters_are_trained_kept_and_sent(folder: Path, device: torch.device, tmp_path: Path) -> None:
    trainer = made(folder, device)
    take(trainer, 1, 2)
    expected = {
        f"base_model.model.model.layers.{layer}.{name}_proj.lora_{part}.weight"
        for layer in range(2)
        for name in (
            "self_attn.q",
            "self_attn.k",
            "self_attn.v",
            "self_attn.o",
            "mlp.gate",
            "mlp.up",
            "mlp.down",
        )
        for part in "AB"
    }
    sent = dict(trainer.named_weights("bfloat16"))
    state = trainer.state()
    assert expected == sent.keys() == state.weights.keys() == trainer.shapes.keys()
    assert all(tensor.dtype == torch.bfloat16 for tensor in sent.values())
    assert all(tensor.dtype == torch.float32 for tensor in state.weights.values())
    assert all(float(tensor.abs().max()) > 0 for tensor in state.weights.values())
    trainer.save_huggingface(tmp_path / "out")
    before, after = (load_file(path / "model.safetensors") for path in (folder, tmp_path / "out"))
    assert before.keys() == after.keys()
    same = {name for name, tensor in before.items() if torch.equal(after[name], tensor)}
    assert same == {name for name in before if "_proj" not in name}


def test_the_reference_model_is_the_policy_without_its_adapters(folder: Path, device: torch.device) -> None:
    base = said(made(folder, device, LoraConfig()))
    trainer = made(folder, device)
    take(trainer, 1, 2, 3)
    adapted = said(trainer)
    np.testing.assert_array_equal(said(trainer, "reference"), base)
    np.testing.assert_array_equal(said(trainer), adapted)
    assert np.abs(adapted - base).mean() > 0.1


def test_the_exported_model_answers_as_the_adapter_does(
    folder: Path, device: torch.device, tmp_path: Path
) -> None:
    """The same numbers of the learner, of the merged weights, and of PEFT with the exported adapter."""
    trainer = made(folder, device)
    take(trainer, 1, 2, 3)
    trainer.save_huggingface(tmp_path / "out")
    np.testing.assert_allclose(said(made(tmp_path / "out", device, LoraConfig())), said(trainer), atol=1e-5)
    tokens = torch.arange(VOCABULARY)[None]
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    adapted = PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(folder), tmp_path / "out" / "adapter"
    )
    with torch.no_grad():
        torch.testing.assert_close(merged(tokens).logits, adapted(tokens).logits, atol=1e-5, rtol=0)


def test_a_frozen_base_in_half_precision_is_the_one_the_engines_have(
    folder: Path, device: torch.device, tmp_path: Path
) -> None:
    """Exported without any step taken it is the folder's model, rounded once."""
    trainer = made(folder, device, dtype="bfloat16")
    trainer.save_huggingface(tmp_path / "out")
    for name, tensor in load_file(tmp_path / "out" / "model.safetensors").items():
        torch.testing.assert_close(
            tensor, load_file(folder / "model.safetensors")[name].bfloat16(), atol=0, rtol=0
        )


def test_a_resumed_run_takes_the_step_that_the_first_would_have_taken(
    folder: Path, device: torch.device, tmp_path: Path
) -> None:
    first = made(folder, device)
    take(first, 1, 2)
    path = kept(CheckpointStore(tmp_path / "checkpoints"), first)
    expected = take(first, 3, 4)
    second = made(folder, device)
    second.load(path)
    assert take(second, 3, 4) == expected
    for name, tensor in first.state().weights.items():
        torch.testing.assert_close(second.state().weights[name], tensor, atol=0, rtol=0)


def test_a_checkpoint_of_the_whole_model_is_refused(
    folder: Path, device: torch.device, tmp_path: Path
) -> None:
    path = kept(CheckpointStore(tmp_path / "checkpoints"), made(folder, device, LoraConfig()))
    with pytest.raises(CheckpointError, match="another model"):
        made(folder, device).load(path)


def test_recomputed_blocks_learn_the_same(folder: Path, device: torch.device) -> None:
    plain = take(made(folder, device), 1, 2, 3)
    np.testing.assert_allclose(
        take(made(folder, device, gradient_checkpointing=True), 1, 2, 3), plain, rtol=1e-5
    )


@pytest.mark.parametrize("kind", ["shared", "separate"])
def test_a_critic_learns_beside_adapters(
    folder: Path, device: torch.device, tmp_path: Path, kind: str
) -> None:
    critic = CriticConfig.model_validate({"kind": kind, "learning_rate": 1e-3})
    trainer = made(folder, device, critic=critic)
    before = trainer.state()
    path = kept(CheckpointStore(tmp_path / "checkpoints"), trainer)
    take(trainer, 1, 2)
    adapters = set(made(folder, device).shapes)
    assert {name for name in trainer.shapes if not name.startswith("critic.")} == adapters
    assert trainer.shapes.keys() > adapters
    assert dict(trainer.named_weights("float32")).keys() == adapters
    trainer.load(path)
    for name, tensor in trainer.state().weights.items():
        torch.testing.assert_close(tensor, before.weights[name], atol=0, rtol=0)


def test_adapters_begin_alike_for_one_seed_and_differently_for_another(folder: Path) -> None:
    def begun(seed: int) -> dict[str, torch.Tensor]:
        torch.manual_seed(torch.seed())
        model = load_causal_lm(folder)
        lora.inject(model, LoraConfig(rank=4, seed=seed), torch.float32)
        return {name: p.detach() for name, p in model.named_parameters() if ".lora_A." in name}

    first, again, other = begun(0), begun(0), begun(1)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not any(torch.equal(first[name], other[name]) for name in first)
    values = torch.cat([tensor.flatten() for tensor in first.values()])
    assert len(values.unique()) > 0.99 * len(values)


@pytest.mark.parametrize("targets", [("q_proj",), ("q_proj", "down_proj")])
def test_only_the_named_layers_are_adapted(folder: Path, targets: tuple[str, ...]) -> None:
    model = load_causal_lm(folder)
    lora.inject(model, LoraConfig(rank=2, targets=targets), torch.float32)
    trained = {
        name.split(".lora_")[0].rpartition(".")[2] for name, p in model.named_parameters() if p.requires_grad
    }
    assert trained == set(targets)
    assert set(lora.describe(model, LoraConfig(rank=2), "x").targets) == set(targets)


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (
            {"rank": 33},
            r"model\.lora\.rank = 33: model\.layers\.0\.self_attn\.q_proj is 32 x 32; at most 32 is allowed",
        ),
        ({"rank": 17, "targets": ("k_proj",)}, r"k_proj is 16 x 32; at most 16"),
        (
            {"rank": 4, "targets": ("qproj",)},
            r"'qproj' is no linear layer of this model; the nearest is 'q_proj'",
        ),
        ({"rank": 4, "targets": ("lm_head",)}, r"'lm_head' is no linear layer"),
    ],
)
def test_what_cannot_be_adapted_is_refused_in_one_line(
    folder: Path, config: dict[str, object], reason: str
) -> None:
    with pytest.raises(ConfigurationError, match=reason) as refused:
        lora.inject(load_causal_lm(folder), LoraConfig.model_validate(config), torch.float32)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("override", "reason"),
    [
        ("--lora.rank=513", "lora.rank = 513"),
        ("--lora.alpha=0", "lora.alpha = 0"),
        ("--lora.targets=[]", "targets is empty"),
        ('--lora.targets=["all-linear", "q_proj"]', "all-linear stands alone"),
        ("--lora.dropout=0.1", "lora.dropout"),
    ],
)
def test_settings_that_make_no_adapter_are_refused(override: str, reason: str) -> None:
    with pytest.raises(ConfigurationError, match=reason):
        load(ModelConfig, [], ["--path=model", override])


@pytest.mark.parametrize("covers_offline", [False, True])
def test_offline_trainers_train_adapters_when_they_are_told_to(folder: Path, covers_offline: bool) -> None:
    config = LORA.model_copy(update={"covers_offline": covers_offline})
    with opened(
        folder,
        optimizer=LearnerConfig(),
        num_steps=1,
        learner=LearnerConfig(device="cpu"),
        model=ModelConfig(path=str(folder), lora=config),
        seed=0,
    ) as ranks:
        assert ranks is not None
        assert (ranks.adapter is not None) == covers_offline
