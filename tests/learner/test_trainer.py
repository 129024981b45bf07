from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from common.errors import CheckpointError
from learner.batch import MicroBatch
from learner.checkpoint import CheckpointStore
from learner.config import LossConfig
from learner.loss import TrainedTokens, imitation, policy_loss
from learner.packing import pack
from learner.statistics import StepStatistics
from learner.trainer import Trainer
from tests import reference
from tests.learner.checkpoints import kept
from tests.learner.torch_side import make_trainer, random_sequences, single_rank, tiny_folder

LENGTHS = [60, 35, 35, 20, 9, 4]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny_folder(tmp_path / "model")


def take(
    trainer: Trainer, step: int = 1, *, budget: int = 64, seed: int = 0, rows: int = 6
) -> StepStatistics:
    batch = pack(random_sequences(LENGTHS[:rows], seed), microbatch_tokens=budget)
    count = batch.num_action_tokens
    return trainer.step(batch.ranks[0], num_action_tokens=count, step=step, temperature=1.0)


def weights(trainer: Trainer) -> dict[str, torch.Tensor]:
    return dict(trainer.named_weights("float32"))


def assert_same(
    left: dict[str, torch.Tensor], right: dict[str, torch.Tensor], tolerance: float = 0.0
) -> None:
    assert left.keys() == right.keys()
    for name, tensor in left.items():
        torch.testing.assert_close(tensor, right[name], atol=tolerance, rtol=0, msg=name)


def test_a_step_is_clipped_adamw_on_the_loss_of_the_whole_batch(folder: Path) -> None:
    """Against plain torch on the plain model, one sequence at a time."""
    plain = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    matrices = [p for p in plain.parameters() if p.ndim >= 2]
    vectors = [p for p in plain.parameters() if p.ndim < 2]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}],
        lr=1e-2,
        betas=(0.9, 0.95),
        eps=1e-3,
    )
    sequences = random_sequences(LENGTHS)
    count = sum(int(s.is_action.sum()) for s in sequences)
    total = torch.zeros(())
    for s in sequences:
        trained = np.flatnonzero(s.is_trained)
        logits = plain(torch.from_numpy(s.tokens.astype(np.int64))[None]).logits[0, trained - 1]
        targets = torch.from_numpy(s.tokens[trained].astype(np.int64))
        logprobs = logits.log_softmax(-1).gather(-1, targets[:, None])[:, 0]
        behaviour, credit = (torch.from_numpy(a[trained]) for a in (s.behaviour_logprobs, s.advantages))
        none = torch.zeros_like(credit)
        tokens = TrainedTokens(
            logprobs, none, behaviour, none, none, credit, none + 1 / count, none.long(), num_sequences=1
        )
        total = total + policy_loss(tokens, LossConfig())[0]
    total.backward()
    norm = torch.nn.utils.clip_grad_norm_(plain.parameters(), 0.5)
    optimizer.step()
    with single_rank() as device:
        trainer = make_trainer(folder, device)
        done = take(trainer)
        assert done.loss == pytest.approx(total.item(), abs=1e-6)
        assert done.grad_norm == pytest.approx(norm.item(), rel=1e-4)
        expected = {name: tensor.detach() for name, tensor in plain.named_parameters()}
        found = weights(trainer)
        assert_same({name: found[name] for name in expected}, expected, 1e-5)


def test_a_step_does_not_depend_on_how_it_is_packed(folder: Path) -> None:
    with single_rank() as device:
        trainers = [make_trainer(folder, device) for _ in range(2)]
        losses = [
            [take(t, step, budget=b).loss for step in (1, 2)]
            for t, b in zip(trainers, (64, 4096), strict=True)
        ]
        np.testing.assert_allclose(*losses, atol=1e-5)
        assert_same(*map(weights, trainers), 1e-5)


def test_an_empty_micro_batch_contributes_nothing(folder: Path) -> None:
    batch = pack(random_sequences(LENGTHS), microbatch_tokens=4096)
    (empty,) = pack([], microbatch_tokens=64).ranks[0]
    with single_rank() as device:
        trainers = [make_trainer(folder, device) for _ in range(2)]
        for trainer, extra in zip(trainers, ([], [empty]), strict=True):
            count = batch.num_action_tokens
            trainer.step([*batch.ranks[0], *extra], num_action_tokens=count, step=1, temperature=1.0)
        assert_same(*map(weights, trainers))


def test_statistics_are_those_of_the_definitions(folder: Path) -> None:
    batch = pack(random_sequences(LENGTHS), microbatch_tokens=64)
    with single_rank() as device:
        trainer = make_trainer(folder, device)
        target = np.concatenate(trainer.logprobs(batch.ranks[0], temperature=1.0)).astype(np.float64)
        done = take(trainer)
    behaviour = np.concatenate([m.behaviour_logprobs[m.is_trained] for m in batch.ranks[0]]).astype(
        np.float64
    )
    assert done.mismatch_kl == pytest.approx(reference.k3(target, behaviour), rel=1e-4)
    share = reference.effective_sample_share(target, behaviour)
    assert done.effective_sample_share == pytest.approx(share, rel=1e-4)
    assert done.abs_log_ratio == pytest.approx(np.abs(target - behaviour).mean(), rel=1e-4)
    assert done.num_tokens == sum(LENGTHS)
    assert done.num_trained_tokens == len(behaviour)
    assert done.metrics()["tokens_per_s"] > 0


def test_a_gradient_that_is_not_finite_is_skipped_counted_and_forgotten(folder: Path) -> None:
    sequences = random_sequences(LENGTHS)
    sequences[2].advantages[sequences[2].is_trained] = np.nan
    batch = pack(sequences, microbatch_tokens=64)
    with single_rank() as device:
        trainer = make_trainer(folder, device)
        before = weights(trainer)
        count = batch.num_action_tokens
        skipped = trainer.step(batch.ranks[0], num_action_tokens=count, step=1, temperature=1.0)
        assert skipped.is_skipped
        assert skipped.num_skipped == 1
        assert_same(weights(trainer), before)
        after = take(trainer, 2)
        assert not after.is_skipped
        assert after.num_skipped == 1
        untouched = make_trainer(folder, device)
        take(untouched, 2)
        assert_same(weights(trainer), weights(untouched))


def test_a_step_without_action_tokens_is_refused(folder: Path) -> None:
    with single_rank() as device:
        trainer = make_trainer(folder, device)
        with pytest.raises(ValueError, match="step 3 has no action token"):
            trainer.step([], num_action_tokens=0, step=3, temperature=1.0)


@pytest.mark.parametrize("is_tied", [True, False])
def test_weights_come_under_their_hugging_face_names(tmp_path: Path, is_tied: bool) -> None:
    """The tied head too: an engine that never hears of it keeps a stale one."""
    folder = tiny_folder(tmp_path / "model", is_tied=is_tied)
    stored = load_file(folder / "model.safetensors")
    with single_rank() as device:
        trainer = make_trainer(folder, device)
        trainer.logprobs(pack(random_sequences([9]), microbatch_tokens=64).ranks[0], temperature=1.0)
        found = weights(trainer)
    assert set(found) == set(stored) | {"lm_head.weight"}
    assert_same({name: found[name] for name in stored}, stored)
    assert (found["lm_head.weight"] is found["model.embed_tokens.weight"]) == is_tied


def test_bfloat16_keeps_float32_masters(folder: Path) -> None:
    """Updates too small for bfloat16 add up in the masters."""
    with single_rank() as device:
        trainer = make_trainer(folder, device, dtype="bfloat16", learning_rate=1e-6)
        before = trainer.state().weights
        rough = dict(trainer.named_weights("bfloat16"))
        assert np.isfinite(take(trainer).loss)
        after = trainer.state().weights
        name = "model.layers.0.mlp.up_proj.weight"
        moved = (after[name] != before[name]).float().mean().item()
        moved_rough = (dict(trainer.named_weights("bfloat16"))[name] != rough[name]).float().mean().item()
    assert after[name].dtype == torch.float32
    assert moved > 0.9
    assert moved_rough < 0.1


def test_gradient_checkpointing_changes_nothing_but_memory(folder: Path) -> None:
    with single_rank() as device:
        losses = [
            [take(trainer, step).loss for step in (1, 2)]
            for trainer in (
                make_trainer(folder, device),
                make_trainer(folder, device, gradient_checkpointing=True),
            )
        ]
    np.testing.assert_allclose(*losses, atol=1e-6)


def test_a_restored_trainer_continues_bit_for_bit(folder: Path, tmp_path: Path) -> None:
    with single_rank() as device:
        straight = make_trainer(folder, device)
        for step in (1, 2):
            take(straight, step)
        path = kept(CheckpointStore(tmp_path / "checkpoints"), straight)
        resumed = make_trainer(folder, device)
        resumed.load(path)
        losses = [[take(trainer, step, seed=step).loss for step in (3, 4)] for trainer in (straight, resumed)]
        assert losses[0] == losses[1]
        assert_same(straight.state().weights, resumed.state().weights)
        assert_same(straight.state().optimizer, resumed.state().optimizer)
        assert resumed.step_taken == 4


def test_another_models_state_is_refused_before_anything_changes(folder: Path, tmp_path: Path) -> None:
    other = tiny_folder(tmp_path / "other", num_kv_heads=4, seed=1)
    with single_rank() as device:
        trainer = make_trainer(folder, device)
        before = weights(trainer)
        path = kept(CheckpointStore(tmp_path / "checkpoints"), make_trainer(other, device))
        with pytest.raises(CheckpointError, match=r"another model: weight .*k_proj"):
            trainer.load(path)
        assert_same(weights(trainer), before)


def test_a_saved_folder_is_the_same_model_with_its_tokenizer(folder: Path, tmp_path: Path) -> None:
    with single_rank() as device:
        trainer = make_trainer(folder, device)
        take(trainer)
        trainer.save_huggingface(tmp_path / "saved")
        batch: list[MicroBatch] = list(pack(random_sequences([30]), microbatch_tokens=64).ranks[0])
        expected = trainer.logprobs(batch, temperature=1.0)[0]
        again = make_trainer(tmp_path / "saved", device).logprobs(batch, temperature=1.0)[0]
    np.testing.assert_array_equal(expected, again)
    assert AutoTokenizer.from_pretrained(tmp_path / "saved").chat_template
    AutoModelForCausalLM.from_pretrained(tmp_path / "saved")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "saved"]


def test_the_mismatch_is_measured_on_one_version_only(folder: Path) -> None:
    batch = pack(random_sequences(LENGTHS), microbatch_tokens=64).ranks[0]
    with single_rank() as device:
        trainer = make_trainer(folder, device)
        logprobs = trainer.logprobs(batch, temperature=0.8)
        found = trainer.mismatch(batch, version=1, temperature=0.8)
    differences = np.concatenate(
        [
            (ours - m.behaviour_logprobs[m.is_trained])[m.versions[m.is_trained] == 1]
            for ours, m in zip(logprobs, batch, strict=True)
        ]
    )
    assert found.num_tokens == len(differences)
    assert found.mean == pytest.approx(np.abs(differences).mean(), rel=1e-5)
    assert found.largest == pytest.approx(np.abs(differences).max(), rel=1e-5)


def test_imitation_learns_what_it_is_shown(folder: Path) -> None:
    with single_rank() as device:
        trainer = make_trainer(folder, device, loss=imitation)
        shown = [replace(s, advantages=s.is_action.astype(np.float32)) for s in random_sequences(LENGTHS[:3])]
        batch = pack(shown, microbatch_tokens=64)
        count = batch.num_action_tokens
        losses = [
            trainer.step(batch.ranks[0], num_action_tokens=count, step=step, temperature=1.0).loss
            for step in range(1, 31)
        ]
    assert losses[-1] < 0.5 * losses[0]
