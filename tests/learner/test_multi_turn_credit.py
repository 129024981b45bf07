"""Rewards stand on action tokens, and credit reaches every action token of every turn before them."""

from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from learner.advantage import RewardSequence, estimate, reward_sequence
from learner.algorithm_config import AdvantageConfig, Estimator
from tests import reference_advantages as reference
from tests.learner.reward_batches import batches, configs, played, with_critic
from tests.making import trajectory, turn

KINDS = get_args(Estimator)
UNITS = ("turn", "token")


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_terminal_reward_reaches_every_action_token_of_every_turn(kind: Estimator, unit: str) -> None:
    config = AdvantageConfig.model_validate({"kind": kind, "discount_unit": unit, "gamma": 0.9})
    batch = [played(0, [(3, 0.0), (2, 0.0), (4, reward)]) for reward in (1.0, 0.0)]
    won, lost = estimate(config, [with_critic(s) for s in batch])
    assert len(won.advantages) == 9
    assert (won.advantages > 0).all()
    assert (lost.advantages < won.advantages).all()


@pytest.mark.parametrize("kind", ["reinforce_pp", "gae", "vtrace"])
def test_a_reward_of_an_earlier_turn_is_no_credit_of_a_later_one(kind: Estimator) -> None:
    batch = [with_critic(played(0, [(2, first), (2, 1.0)])) for first in (1.0, 0.0)]
    early, without = estimate(AdvantageConfig(kind=kind), batch)
    assert (early.advantages[:2] > without.advantages[:2]).all()
    np.testing.assert_allclose(early.advantages[2:], without.advantages[2:])


@pytest.mark.parametrize("kind", ["reinforce_pp", "gae", "vtrace"])
def test_the_length_of_a_turn_does_not_discount_what_is_discounted_by_turn(kind: Estimator) -> None:
    config = AdvantageConfig(kind=kind, gamma=0.5, gae_lambda=1.0 if kind == "vtrace" else 0.5)
    for short, long in zip(
        estimate(config, [with_critic(played(0, [(1, 0.0), (1, r), (1, 1.0)])) for r in (2.0, 0.0)]),
        estimate(config, [with_critic(played(0, [(4, 0.0), (4, r), (4, 1.0)])) for r in (2.0, 0.0)]),
        strict=True,
    ):
        np.testing.assert_allclose(np.repeat(short.advantages, 4), long.advantages, rtol=1e-6)


@given(batches(), configs)
def test_with_turns_of_one_token_discounting_by_turn_and_by_token_are_the_same(
    batch: list[RewardSequence], config: AdvantageConfig
) -> None:
    single = [replace(s, is_turn_end=np.ones(len(s.rewards), np.bool_)) for s in batch]
    by_turn, by_token = (
        estimate(config.model_copy(update={"discount_unit": unit}), single) for unit in UNITS
    )
    for turned, tokened in zip(by_turn, by_token, strict=True):
        assert (turned.advantages == tokened.advantages).all()
        assert (turned.returns == tokened.returns).all()


def test_after_a_turn_comes_the_value_before_the_next_action_token_and_at_the_end_the_bootstrap() -> None:
    sequence = replace(played(0, [(2, 0.5), (1, 0.0)]), values=np.array([4.0, 3.0, 2.0]), bootstrap=10.0)
    (credit,) = estimate(AdvantageConfig(kind="gae", gamma=0.5, gae_lambda=0.0), [sequence])
    # A trace of 0 by turn lets the first token of the turn see to the end of its own turn.
    last_of_turn = 0.5 + 0.5 * 2 - 3
    np.testing.assert_allclose(credit.advantages, [3 - 4 + last_of_turn, last_of_turn, 0.5 * 10 - 2])


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(-4, 4).map(float)), max_size=6))
def test_every_reward_stands_on_an_action_token_and_none_is_lost(turns: list[tuple[int, float]]) -> None:
    sequence = played(7, turns)
    rewards, is_end, unplaced = reference.placed_rewards(turns)
    assert sequence.group == 7
    assert sequence.rewards.tolist() == rewards
    assert sequence.is_turn_end.tolist() == is_end
    assert sequence.unplaced == unplaced
    assert sequence.episode_return == sum(reward for _, reward in turns)


def test_penalties_are_taken_from_every_action_token() -> None:
    made = trajectory(turns=(turn(num_action=2, reward=1.0), turn(num_action=1, reward=0.5)))
    penalties = np.array([0.1, 0.2, 0.3], np.float32)
    sequence = reward_sequence(made, 0, penalties=penalties)
    assert sequence.rewards.dtype == np.float64
    np.testing.assert_allclose(sequence.rewards, [-0.1, 0.8, 0.2], rtol=1e-6)
    with pytest.raises(ValueError, match=r"trajectory 0/0 has 3 action tokens but penalties of shape \(2,\)"):
        reward_sequence(made, 0, penalties=penalties[:2])


@pytest.mark.parametrize("kind", ["grpo", "rloo", "reinforce_pp"])
def test_an_episode_without_action_tokens_counts_in_its_groups_baseline(kind: Estimator) -> None:
    config = AdvantageConfig(kind=kind, baseline="group")
    silent, other = played(0, [(0, 3.0)]), played(1, [(1, 0.0)])
    credits = estimate(config, [silent, played(0, [(1, 1.0)]), other, other])
    assert credits[0].advantages.shape == (0,)
    assert credits[1].advantages[0] < 0
    same = estimate(config, [replace(silent, unplaced=1.0), played(0, [(1, 1.0)]), other, other])
    assert same[1].advantages[0] == 0
