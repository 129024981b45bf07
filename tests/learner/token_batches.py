"""Batches of played sequences as a loss reads them, drawn by hypothesis or from a seed."""

from collections.abc import Sequence

import numpy as np
import torch
from hypothesis import strategies as st

from learner.algorithm_config import LossConfig
from learner.loss import LossSums, TrainedTokens, policy_loss
from learner.surrogates import SURROGATES
from tests.reference_losses import Played

KINDS = tuple(SURROGATES)

_FIELDS = ("target", "behaviour", "proximal", "reference", "advantages", "entropy", "weights")
_LARGEST = -1e-6

_gap = st.one_of(st.floats(-0.4, 0.4), st.just(0.0), st.floats(-60, 60))
_token = st.tuples(st.floats(-60, -1e-4), _gap, _gap, _gap, st.floats(-3, 3))


def _played(rows: Sequence[tuple[float, ...]], weight: float) -> Played:
    behaviour, gap, proximal, reference, advantages = np.array(rows, np.float64).reshape(-1, 5).T
    target, proximal, reference = (
        np.minimum(behaviour + step, _LARGEST) for step in (gap, proximal, reference)
    )
    weights = np.full(len(rows), weight)
    return Played(target, behaviour, proximal, reference, advantages, np.abs(advantages), weights)


batches = st.lists(st.builds(_played, st.lists(_token, max_size=5), st.floats(1e-3, 1)), max_size=4)
"""Up to four sequences of up to five tokens, some of none, at any distance between the policies."""


def random_batch(lengths: Sequence[int], seed: int = 0, spread: float = 0.3) -> list[Played]:
    """Sequences whose policies are `spread` nats apart; advantages differ from token to token."""
    rng = np.random.default_rng(seed)
    return [
        _played(
            np.column_stack([rng.uniform(-4, -0.5, n), *rng.normal(0, spread, (3, n)), rng.normal(size=n)]),
            rng.uniform(0.01, 0.1),
        )
        for n in lengths
    ]


def trained_tokens(batch: Sequence[Played], dtype: torch.dtype = torch.float64) -> TrainedTokens:
    """The batch as one micro-batch; the target logprobs and the entropy ask for their gradient."""
    columns = {
        name: torch.tensor(np.concatenate([np.empty(0), *(getattr(s, name) for s in batch)]), dtype=dtype)
        for name in _FIELDS
    }
    return TrainedTokens(
        target_logprobs=columns["target"].requires_grad_(),
        entropy=columns["entropy"].requires_grad_(),
        behaviour_logprobs=columns["behaviour"],
        proximal_logprobs=columns["proximal"],
        reference_logprobs=columns["reference"],
        advantages=columns["advantages"],
        weights=columns["weights"],
        sequences=torch.repeat_interleave(
            torch.arange(len(batch)), torch.tensor([len(s) for s in batch], dtype=torch.int64)
        ),
        num_sequences=len(batch),
    )


def run(
    config: LossConfig, batch: Sequence[Played], dtype: torch.dtype = torch.float64
) -> tuple[float, np.ndarray, LossSums]:
    """Loss, its gradient by the target logprobs, and the sums."""
    tokens = trained_tokens(batch, dtype)
    loss, sums = policy_loss(tokens, config)
    loss.backward()
    assert tokens.target_logprobs.grad is not None
    return loss.item(), tokens.target_logprobs.grad.numpy(), sums


def tokens_of(
    target: Sequence[float], behaviour: Sequence[float], advantages: Sequence[float]
) -> list[Played]:
    """One sequence of weight 1; the policy began the step where it is, and the reference is where it is."""
    t, b, a = (np.array(values, np.float64) for values in (target, behaviour, advantages))
    return [Played(t, b, t, t, a, np.zeros(len(t)), np.ones(len(t)))]
