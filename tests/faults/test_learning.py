"""What the networks learn from: faults that only a step on real parameters shows."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch

from common.config import validate
from common.errors import ConfigurationError
from common.model_config import ModelConfig
from learner.advantage import estimate
from learner.algorithm_config import AdvantageConfig, Estimator, LossConfig
from learner.batch import TrainingSequence
from learner.batch_builder import BatchBuilder
from learner.config import LearnerConfig
from learner.ranks import Ranks, open_trainer
from learner.updates import StepDone, take_step
from tests.learner.algorithms import settings_of
from tests.learner.random_groups import random_groups
from tests.learner.reward_batches import played, with_critic
from tests.learner.token_batches import run, tokens_of
from tests.learner.torch_side import tiny_folder


@contextmanager
def opened(tmp_path: Path, name: str, **others: Any) -> Iterator[tuple[Ranks, LearnerConfig]]:
    """One rank that trains a tiny model under an algorithm."""
    folder = tmp_path / "model"
    model, config = folder if folder.exists() else tiny_folder(folder), settings_of(name, **others)
    ranks = Ranks(open_trainer(model, config, ModelConfig(path=str(model))))
    try:
        yield ranks, config
    finally:
        ranks.stop()


def take(ranks: Ranks, config: LearnerConfig, step: int = 1) -> StepDone:
    builder, groups = BatchBuilder(config), random_groups()
    draft = builder.draft(groups, [[0] * 4 for _ in groups], 0)
    return take_step(ranks, builder, draft, config, step=step, temperature=1.0)


def credited(ranks: Ranks, config: LearnerConfig) -> tuple[BatchBuilder, list[TrainingSequence]]:
    """What the next step would train on, scored by the networks as they are."""
    builder, groups = BatchBuilder(config), random_groups()
    draft = builder.draft(groups, [[0] * 4 for _ in groups], 0)
    scores = ranks.score(builder.packed(draft.sequences), temperature=1.0, wants=builder.wants)
    return builder, builder.credit(draft, scores)


def of_actions(sequences: list[TrainingSequence], name: str) -> np.ndarray:
    return np.concatenate([getattr(s, name)[s.is_action] for s in sequences]).astype(np.float64)


def test_every_estimator_that_can_be_asked_for_gives_credit_and_any_other_is_refused_at_once() -> None:
    """ReMax can be asked for in AgentGym-RL, and ends the run at its first batch."""
    for kind in get_args(Estimator):
        batch = [with_critic(played(0, [(2, reward)])) for reward in (0.0, 1.0)]
        assert len(estimate(AdvantageConfig(kind=kind), batch)) == 2
    with pytest.raises(ConfigurationError, match=r"kind = 'remax': .*'grpo', 'rloo', 'reinforce_pp'"):
        validate(AdvantageConfig, {"kind": "remax"})


@pytest.mark.parametrize("kind", ["separate", "shared"])
def test_the_values_that_advantages_read_are_those_that_the_value_loss_trains(
    tmp_path: Path, kind: str
) -> None:
    """One step after the other: what is scored is what the next update calls its old error."""
    critic = {"kind": kind, "learning_rate": 3e-2, "clip": 0}
    with opened(tmp_path, "ppo_gae", critic=critic, epochs=1, minibatches=1) as (ranks, config):
        for step in (1, 2, 3):
            take(ranks, config, step)
        builder, sequences = credited(ranks, config)
        (batch,) = builder.updates(sequences, 4)
        found = ranks.step(batch, step=4, temperature=1.0).metrics()
    values, returns = of_actions(sequences, "values"), of_actions(sequences, "returns")
    assert values.std() > 1e-2
    squared = (returns - values) ** 2
    assert found["value_loss"] == pytest.approx(squared.mean(), rel=1e-3)
    assert found["value_explained"] == pytest.approx(1 - squared.mean() / returns.var(), rel=1e-3, abs=1e-3)


def test_critic_and_policy_take_the_same_updates_on_the_same_tokens(tmp_path: Path) -> None:
    """AgentGym-RL multiplies the policy's minibatch by the group size and leaves out the critic's."""
    critic = {"kind": "separate", "learning_rate": 1e-2, "clip": 0}
    with opened(tmp_path, "ppo_gae", critic=critic, epochs=2, minibatches=3) as (ranks, config):
        builder, sequences = credited(ranks, config)
        for batch in builder.updates(sequences, 1):
            done = ranks.step(batch, step=1, temperature=1.0)
            tokens = [m.is_action for m in batch.microbatches]
            assert done.num_trained_tokens == sum(int(part.sum()) for part in tokens)
            returns = np.concatenate([m.returns[m.is_action] for m in batch.microbatches])
            assert done.critic["value_mean_return"] == pytest.approx(returns.mean(), rel=1e-4, abs=1e-5)
        state = ranks.state()
    taken = {name: int(state.optimizer[f"step.{name}"]) for name in state.weights}
    assert any(name.startswith("critic.") for name in taken)
    assert set(taken.values()) == {6}


def moved(tmp_path: Path, **optimizer: Any) -> tuple[float, float]:
    """How far the first step carries the policy, and the rate that it reports."""
    with opened(tmp_path, "grpo", weight_decay=0.0, **optimizer) as (ranks, config):
        before = {name: tensor.clone() for name, tensor in ranks.state().weights.items()}
        (update,) = take(ranks, config).updates
        after = ranks.state().weights
    distance = torch.stack([(after[name] - before[name]).double().norm() for name in before]).norm()
    return float(distance), update.learning_rate


def test_the_first_steps_of_a_warm_up_move_the_policy_by_their_share_of_the_rate(tmp_path: Path) -> None:
    """Not only reported: the optimizer takes it. AgentGym-RL reads `warmup_style` and keeps its rate."""
    full, rate = moved(tmp_path, learning_rate=1e-2)
    warmed, warm_rate = moved(tmp_path, learning_rate=1e-2, warmup_steps=10)
    assert (rate, warm_rate) == pytest.approx((1e-2, 1e-3))
    assert warmed == pytest.approx(full / 10, rel=1e-2)


@pytest.mark.parametrize("kind", ["k2", "k3"])
def test_an_exploding_divergence_is_seen_in_the_loss_its_gradient_and_the_numbers(kind: str) -> None:
    """AgentGym-RL clamps k3 to 10 a token: what is 15 nats away looks as 2.6 and is not pulled back."""
    (far,), (near,) = tokens_of([-16.0], [-16.0], [0.0]), tokens_of([-4.0], [-4.0], [0.0])
    far.reference, near.reference = np.array([-1.0]), np.array([-1.0])
    config = LossConfig.model_validate({"reference_kl": 1.0, "kl_kind": kind, "behaviour_kl": 0.0})
    (far_loss, far_gradient, far_sums), (near_loss, near_gradient, _) = (
        run(config, [far]),
        run(config, [near]),
    )
    assert far_loss > 10 * near_loss > 0
    assert far_gradient[0] < near_gradient[0] < 0
    assert float(far_sums.reference_kl) == pytest.approx(np.exp(15.0) - 16, rel=1e-6)


def test_an_engine_that_disagrees_by_far_is_seen_in_the_numbers() -> None:
    """mismatch_kl and max_ratio are of the ratios as they are, not of what a clip left of them."""
    for kind in get_args(LossConfig.model_fields["kind"].annotation):
        *_, sums = run(LossConfig(kind=kind), tokens_of([-1.0, -1.0], [-13.0, -1.0], [1.0, 1.0]))
        assert float(sums.max_ratio) == pytest.approx(np.exp(12.0))
        assert float(sums.mismatch_kl) == pytest.approx(np.exp(12.0) - 13, rel=1e-6)
