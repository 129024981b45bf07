"""All algorithms on the real trainer: one rank and two, what moves and what must not."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from common.model_config import ModelConfig
from learner.batch_builder import BatchBuilder
from learner.checkpoint import CheckpointStore
from learner.critic import CRITIC
from learner.ranks import Ranks, open_trainer
from learner.updates import StepDone, take_step
from tests.learner.algorithms import SETTINGS, settings_of
from tests.learner.random_groups import random_groups
from tests.learner.torch_side import tiny_folder

ROOT = Path(__file__).parents[2]
COUNTS = {"masked_share", "value_clipped_share"}
"""Shares of tokens beyond a bound: rounding decides for a token that stands exactly on it."""


def run_program(num_ranks: int, model: Path, out: Path) -> dict[str, list[dict[str, float]]]:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(num_ranks)]
    program = ["-m", "tests.learner.algorithm_program", str(model), str(out)]
    done = subprocess.run(
        [sys.executable, *launcher, *program], env=environment, cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-4000:]
    seen: dict[str, list[dict[str, float]]] = json.loads((out / "seen.json").read_text())
    return seen


@pytest.mark.slow
def test_two_ranks_learn_the_same_as_one_under_every_algorithm(tmp_path: Path) -> None:
    """Statistics within 1e-4 of each other, every parameter within 1e-5 after two steps."""
    model = tiny_folder(tmp_path / "model")
    one, two = (run_program(n, model, tmp_path / f"ranks-{n}") for n in (1, 2))
    assert one.keys() == two.keys() == SETTINGS.keys()
    for name in SETTINGS:
        for left, right in zip(one[name], two[name], strict=True):
            assert left.keys() == right.keys()
            for key, value in left.items():
                tolerance = 0.05 if key in COUNTS else 1e-5
                assert right[key] == pytest.approx(value, rel=1e-4, abs=tolerance), (name, key)
    states = [load_file(tmp_path / f"ranks-{n}" / "parameters.safetensors") for n in (1, 2)]
    assert states[0].keys() == states[1].keys()
    for name, tensor in states[0].items():
        torch.testing.assert_close(states[1][name], tensor, atol=1e-5, rtol=0, msg=name)


@contextmanager
def opened(tmp_path: Path, name: str, **others: Any) -> Iterator[tuple[Ranks, BatchBuilder, Any]]:
    """One rank that trains a tiny model under an algorithm."""
    model, config = tiny_folder(tmp_path / "model"), settings_of(name, **others)
    ranks = Ranks(open_trainer(model, config, ModelConfig(path=str(model))))
    try:
        yield ranks, BatchBuilder(config), config
    finally:
        ranks.stop()


def take(ranks: Ranks, builder: BatchBuilder, config: Any, step: int = 1, seed: int = 1) -> StepDone:
    groups = random_groups(seed=seed)
    draft = builder.draft(groups, [[0] * 4 for _ in groups], 0)
    return take_step(ranks, builder, draft, config, step=step, temperature=1.0)


def parts(ranks: Ranks) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """The policy's parameters and the critic's."""
    weights = ranks.state().weights
    critic = {name: tensor for name, tensor in weights.items() if name.startswith(CRITIC)}
    return {name: tensor for name, tensor in weights.items() if name not in critic}, critic


def moved(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> set[str]:
    assert before.keys() == after.keys()
    return {name for name in before if not torch.equal(before[name], after[name])}


@pytest.mark.parametrize("name", ["ppo_gae", "ppo_gae_shared"])
def test_a_warm_up_trains_the_critic_and_leaves_the_policy(tmp_path: Path, name: str) -> None:
    critic = {**SETTINGS[name]["critic"], "warmup_steps": 1, "learning_rate": 1e-2}
    with opened(tmp_path, name, critic=critic) as (ranks, builder, config):
        policy, values = parts(ranks)
        take(ranks, builder, config, step=1)
        warmed_policy, warmed_values = parts(ranks)
        assert not moved(policy, warmed_policy)
        assert moved(values, warmed_values) >= {"critic.head.bias" if name == "ppo_gae" else "critic.bias"}
        take(ranks, builder, config, step=2)
        assert moved(warmed_policy, parts(ranks)[0])


def test_a_critic_of_its_own_learns_the_returns(tmp_path: Path) -> None:
    critic = {"kind": "separate", "learning_rate": 1e-2, "clip": 0}
    with opened(tmp_path, "ppo_gae", critic=critic, learning_rate=1e-6) as (ranks, builder, config):
        explained = [take(ranks, builder, config, step).metrics()["value_explained"] for step in range(1, 13)]
    assert explained[0] < 0.1
    assert explained[-1] > 0.6


def test_an_untrained_critic_says_nothing_at_all(tmp_path: Path) -> None:
    with opened(tmp_path, "vtrace") as (ranks, builder, _):
        draft = builder.draft(random_groups(), [[0] * 4] * 3, 0)
        scores = ranks.score(builder.packed(draft.sequences), temperature=1.0, wants=builder.wants)
    assert all(score.values is not None and not score.values.any() for score in scores)
    assert all(score.bootstrap == 0 for score in scores)


def test_scores_do_not_depend_on_how_sequences_are_packed(tmp_path: Path) -> None:
    with opened(tmp_path, "vtrace") as (ranks, builder, config):
        for step in (1, 2):
            take(ranks, builder, config, step)
        draft = builder.draft(random_groups(seed=5), [[0] * 4] * 3, 0)
        together = ranks.score(builder.packed(draft.sequences), temperature=1.0, wants=builder.wants)
        for sequence, expected in zip(draft.sequences, together, strict=True):
            (alone,) = ranks.score(builder.packed([sequence]), temperature=1.0, wants=builder.wants)
            assert alone.bootstrap == pytest.approx(expected.bootstrap, abs=1e-5)
            for name in ("proximal_logprobs", "values"):
                np.testing.assert_allclose(getattr(alone, name), getattr(expected, name), atol=2e-5)


def test_the_reference_is_where_training_began_also_after_a_resume(tmp_path: Path) -> None:
    with opened(tmp_path, "kl_in_loss") as (ranks, builder, config):
        draft = builder.draft(random_groups(), [[0] * 4] * 3, 0)
        batch = builder.packed(draft.sequences)
        began = ranks.score(batch, temperature=1.0, wants=["proximal", "reference"])
        for score in began:
            np.testing.assert_allclose(score.reference_logprobs, score.proximal_logprobs, atol=1e-6)
        take(ranks, builder, config)
        ranks.load(ranks.begin_checkpoint(CheckpointStore(tmp_path / "checkpoints"), {}).result())
        later = ranks.score(batch, temperature=1.0, wants=["proximal", "reference"])
    for before, after in zip(began, later, strict=True):
        np.testing.assert_array_equal(after.reference_logprobs, before.reference_logprobs)
        assert not np.allclose(after.proximal_logprobs, before.proximal_logprobs, atol=1e-4)


def test_epochs_end_once_the_policy_is_too_far_and_that_update_is_not_made(tmp_path: Path) -> None:
    with opened(tmp_path, "guarded", epochs=6) as (ranks, builder, config):
        done = take(ranks, builder, config)
        assert done.is_ended_early
        assert 1 < len(done.updates) < 6
        assert [update.is_skipped for update in done.updates] == [False] * (len(done.updates) - 1) + [True]
        assert done.updates[-1].update_kl > config.guards.max_update_kl >= done.updates[-2].update_kl


def test_the_rate_is_scaled_by_the_effective_sample_share(tmp_path: Path) -> None:
    with opened(tmp_path, "guarded", epochs=1) as (ranks, builder, config):
        (update,) = take(ranks, builder, config).updates
    assert update.learning_rate == pytest.approx(config.learning_rate * update.effective_sample_share**0.5)
    assert update.learning_rate < 0.9 * config.learning_rate


def test_a_batch_with_too_few_effective_samples_changes_nothing(tmp_path: Path) -> None:
    with opened(tmp_path, "grpo", guards={"min_ess": 0.99}) as (ranks, builder, config):
        before, _ = parts(ranks)
        assert take(ranks, builder, config).metrics()["is_skipped"] == 1
        assert not moved(before, parts(ranks)[0])


def test_epochs_are_really_looped_over(tmp_path: Path) -> None:
    """AgentGym-RL reads `ppo_epochs` and passes once."""
    with opened(tmp_path, "decoupled_ppo", epochs=3, minibatches=2) as (ranks, builder, config):
        assert take(ranks, builder, config).metrics()["num_updates"] == 6


@pytest.mark.parametrize("name", SETTINGS)
def test_every_algorithm_moves_its_networks_and_stays_finite(tmp_path: Path, name: str) -> None:
    with opened(tmp_path, name) as (ranks, builder, config):
        before = ranks.state().weights
        values = take(ranks, builder, config).metrics()
        after = ranks.state().weights
    assert all(np.isfinite(value) for value in values.values())
    assert moved(before, after)
    assert all(torch.isfinite(tensor).all() for tensor in after.values())
