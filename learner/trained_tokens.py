"""What a loss reads: the trained tokens of one micro-batch, and sums over its sequences."""

from dataclasses import dataclass

import torch
from torch import Tensor

MAX_LOG_RATIO = 20.0
"""Log ratios are clamped to this before exp: beyond it float32 has no better answer than 4.9e8."""


@dataclass(frozen=True, eq=False)
class TrainedTokens:
    """The trained tokens of one micro-batch; float32 [A], logprobs in nats. Sequences are never cut."""

    target_logprobs: Tensor
    """log pi; carries gradient."""
    entropy: Tensor
    """Of the policy before each token, nats; carries gradient when the entropy is trained."""
    behaviour_logprobs: Tensor
    """log mu, as recorded when sampled."""
    proximal_logprobs: Tensor
    """log pi as the step began; all zero unless it was asked for."""
    reference_logprobs: Tensor
    """Of the reference model; all zero without one."""
    advantages: Tensor
    weights: Tensor
    """What each token counts."""
    sequences: Tensor
    """[A] int64, rising: which of the micro-batch's sequences each token belongs to."""
    num_sequences: int

    @property
    def log_ratio(self) -> Tensor:
        """log r = log pi - log mu, clamped; [A], carries gradient where it is not clamped."""
        return clamped(self.target_logprobs - self.behaviour_logprobs)

    def sequence_sum(self, values: Tensor) -> Tensor:
        """[A] at each token, the sum of `values` over the trained tokens of its sequence; float64."""
        sums = torch.zeros(self.num_sequences, dtype=torch.float64, device=values.device)
        return sums.index_add(0, self.sequences, values.double())[self.sequences]

    def sequence_mean(self, values: Tensor) -> Tensor:
        """[A] at each token, the mean of `values` over the trained tokens of its sequence; float64.

        Every token is in its own sequence: no count is zero, whichever sequences have no trained token.
        """
        return self.sequence_sum(values) / self.sequence_sum(torch.ones_like(values))


def clamped(log_ratio: Tensor) -> Tensor:
    """The log ratio within +-MAX_LOG_RATIO, so that its exp is finite; no gradient outside."""
    return log_ratio.clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO)
