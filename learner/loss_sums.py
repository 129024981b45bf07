"""What a loss says of its tokens, as sums that add up over micro-batches and ranks."""

from dataclasses import dataclass

import torch
from torch import Tensor

from learner.divergence import estimate
from learner.trained_tokens import TrainedTokens


@dataclass(frozen=True)
class LossSums:
    """Sums over trained tokens, for statistics; 0-dimensional float64 tensors without gradient."""

    num_tokens: Tensor
    loss: Tensor
    """Already weighed."""
    mismatch_kl: Tensor
    """k3 of KL(mu || pi): r - 1 - log r."""
    ratio: Tensor
    ratio_squared: Tensor
    abs_log_ratio: Tensor
    masked: Tensor
    """Tokens whose policy gradient a clip, a mask or a cap took away or reduced."""
    entropy: Tensor
    reference_kl: Tensor
    """k3 of KL(pi || reference); 0 without one."""
    update_kl: Tensor
    """k3 of KL(proximal || pi); 0 without proximal logprobs."""
    max_ratio: Tensor
    """A maximum, not a sum; 0 without tokens."""


@torch.no_grad()
def sum_up(tokens: TrainedTokens, loss: Tensor, log_ratio: Tensor, is_masked: Tensor) -> LossSums:
    """The sums of these tokens; `log_ratio` ([A], clamped) is zero where no behaviour policy is known.

    Logprobs that are all zero were not asked for: their divergence is 0.
    """
    log_ratio = log_ratio.double()
    ratio = log_ratio.exp()
    target = tokens.target_logprobs
    return LossSums(
        num_tokens=ratio.new_tensor(ratio.numel()),
        loss=loss.detach().double(),
        mismatch_kl=(ratio - 1 - log_ratio).sum(),
        ratio=ratio.sum(),
        ratio_squared=ratio.square().sum(),
        abs_log_ratio=log_ratio.abs().sum(),
        masked=is_masked.sum().double(),
        entropy=tokens.entropy.double().sum(),
        reference_kl=_where_known(tokens.reference_logprobs, target, tokens.reference_logprobs),
        update_kl=_where_known(tokens.proximal_logprobs, tokens.proximal_logprobs, target),
        max_ratio=ratio.max() if ratio.numel() else ratio.new_zeros(()),
    )


def _where_known(known: Tensor, logprobs: Tensor, others: Tensor) -> Tensor:
    """The sum of k3; 0 where `known` is all zero, decided without waiting for the device."""
    total = estimate("k3", logprobs.double(), others.double()).sum()
    return torch.where(known.any(), total, torch.zeros_like(total))
