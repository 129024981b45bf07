import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from learner.config import OptimizerConfig
from learner.optim import build_optimizer, learning_rate


def test_the_rate_rises_linearly_to_its_value() -> None:
    config = OptimizerConfig(learning_rate=1.0, warmup_steps=4)
    assert [learning_rate(config, step, 10) for step in (1, 2, 3, 4, 5, 10)] == [0.25, 0.5, 0.75, 1, 1, 1]


def test_linear_ends_at_its_least_scale() -> None:
    config = OptimizerConfig(learning_rate=1.0, schedule="linear", min_scale=0.1)
    assert learning_rate(config, 10, 10) == pytest.approx(0.1)
    assert learning_rate(config, 5, 10) == pytest.approx(0.55)


def test_cosine_ends_at_its_least_scale() -> None:
    config = OptimizerConfig(learning_rate=2.0, schedule="cosine", min_scale=0.0, warmup_steps=10)
    assert learning_rate(config, 20, 30) == pytest.approx(1 + math.cos(math.pi / 2))
    assert learning_rate(config, 30, 30) == pytest.approx(0.0)


@given(
    st.sampled_from(["constant", "linear", "cosine"]),
    st.integers(0, 20),
    st.integers(1, 200),
    st.integers(1, 100),
)
def test_the_rate_never_leaves_its_bounds(schedule: str, warmup: int, step: int, num_steps: int) -> None:
    """Past the last step too: a resumed run may be longer."""
    config = OptimizerConfig(learning_rate=1.0, schedule=schedule, warmup_steps=warmup)  # type: ignore[arg-type]
    assert 0 < learning_rate(config, step, num_steps) <= 1


def test_norms_and_biases_do_not_decay() -> None:
    layer = torch.nn.Linear(3, 3)
    optimizer = build_optimizer(layer.named_parameters(), OptimizerConfig(weight_decay=0.1))
    decays = {parameter.ndim: g["weight_decay"] for g in optimizer.param_groups for parameter in g["params"]}
    assert decays == {2: 0.1, 1: 0.0}
