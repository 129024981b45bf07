import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from learner.advantage import grpo, has_zero_variance
from tests import reference

returns = st.lists(st.floats(-100, 100, width=32), min_size=2, max_size=16)


@given(returns, st.booleans())
def test_grpo_equals_the_papers(values: list[float], normalizes_std: bool) -> None:
    result = grpo(np.array(values, np.float32), normalizes_std=normalizes_std)
    assert result.dtype == np.float32
    expected = reference.grpo_advantages(values, normalizes_std)
    np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-4)


@given(returns)
def test_advantages_of_a_group_sum_to_zero(values: list[float]) -> None:
    assert abs(grpo(np.array(values, np.float32), normalizes_std=False).sum()) < 1e-3


def test_a_group_of_one_cannot_be_compared() -> None:
    with pytest.raises(ValueError, match="group of 1"):
        grpo(np.ones(1, np.float32), normalizes_std=False)


def test_zero_variance_is_when_all_members_returned_the_same() -> None:
    assert has_zero_variance(np.full(8, 0.1, np.float32))
    assert not has_zero_variance(np.array([0, 0, 1], np.float32))
    assert not grpo(np.full(8, 0.1, np.float32), normalizes_std=True).any()
