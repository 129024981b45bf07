"""A setting that nothing reads, and one that needs what is not there, are refused in one line."""

from typing import Any

import pytest
from pydantic import ValidationError

from learner.config import LearnerConfig
from tests.learner.algorithms import SETTINGS, settings_of


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        ({"advantage": {"kind": "gae"}}, "reads a critic: give critic.kind = 'separate' or 'shared'"),
        (
            {"advantage": {"kind": "vtrace"}, "critic": {"kind": "shared"}},
            "advantage.gamma = 1 with advantage.bootstraps: an episode that is cut for ever",
        ),
        ({"critic": {"clip": 0.1}}, "critic.clip: advantage.kind = 'grpo' reads no critic"),
        ({"critic": {"kind": "shared"}}, "critic.kind: advantage.kind = 'grpo' reads no critic"),
        ({"group_size": 1}, "group_size = 1: grpo compares the members of a group"),
        ({"group_size": 1, "advantage": {"kind": "rloo"}}, "group_size = 1: rloo compares"),
        (
            {"group_size": 1, "advantage": {"kind": "reinforce_pp", "baseline": "group"}},
            "group_size = 1: reinforce_pp compares",
        ),
        ({"reference": {"offload": True}}, "reference.offload: no reference model is held"),
        ({"loss": {"kl_in": "reward"}}, "kl_in = 'reward': no reference model is held"),
        ({"loss": {"kl_kind": "k1"}}, "kl_kind = 'k1': no reference model is held"),
        ({"advantage": {"kind": "grp0"}}, "'grpo', 'rloo', 'reinforce_pp', 'gae' or 'vtrace'"),
        ({"loss": {"kind": "ppp"}}, "'dppo_tv', 'ipo', 'ppo'"),
    ],
)
def test_what_cannot_be_is_refused_by_name(sections: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as refused:
        LearnerConfig.model_validate(sections)
    assert said in refused.value.errors()[0]["msg"]


@pytest.mark.parametrize("name", SETTINGS)
def test_a_configuration_with_every_field_written_out_means_the_same(name: str) -> None:
    """What a run resolved to is read again by all of its processes."""
    config = settings_of(name)
    assert LearnerConfig.model_validate(config.model_dump()) == config


@pytest.mark.parametrize("kind", ["gae", "vtrace", "reinforce_pp"])
def test_a_group_of_one_is_enough_where_nothing_is_compared(kind: str) -> None:
    critic = {} if kind == "reinforce_pp" else {"critic": {"kind": "shared"}}
    sections = {"group_size": 1, "advantage": {"kind": kind, "gamma": 0.95}, **critic}
    assert LearnerConfig.model_validate(sections).group_size == 1
