"""The critic: what the policy may still expect, before each action token and where an episode was cut."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from learner.algorithm_config import CriticConfig
from learner.model import PackedInput, blocks_of, value_head, value_of

CRITIC = "critic."
"""What the names of the critic's parameters begin with, in checkpoints and in the optimizer."""


class Critic(nn.Module):
    """A trunk of its own, begun as the policy's, and a head to one number that begins at zero."""

    def __init__(self, causal_lm: Any) -> None:
        super().__init__()
        self.trunk = causal_lm.base_model
        self.head = value_head(causal_lm.config.hidden_size)

    def forward(self, packed: PackedInput) -> Tensor:
        """V before each trained token and, after them, at the end of each sequence: [A + B] float32."""
        output = self.trunk(
            input_ids=packed.tokens, position_ids=packed.position_ids, use_cache=False, packing=packed.packing
        )
        return value_of(output.last_hidden_state[0].index_select(0, packed.valued), self.head)

    @property
    def layers(self) -> list[nn.Module]:
        """The transformer blocks."""
        return blocks_of(self.trunk)


@dataclass(frozen=True)
class ValueSums:
    """Sums over trained tokens, for statistics; 0-dimensional float64 tensors without gradient."""

    num_tokens: Tensor
    loss: Tensor
    """Weighed, without the coefficient."""
    clipped: Tensor
    """Tokens whose value may not move further in this step."""
    error_squared: Tensor
    """(return - value)^2."""
    returns: Tensor
    returns_squared: Tensor


def value_loss(
    values: Tensor, old_values: Tensor, returns: Tensor, weights: Tensor, config: CriticConfig
) -> tuple[Tensor, ValueSums]:
    """Clipped squared error of the value function: a scalar, lower is better, and the sums for statistics.

        sum_t weight_t max( (V_t - R_t)^2, (clip(V_t, V_old - clip, V_old + clip) - R_t)^2 )

    All float32 [A]; only `values` carries gradient. The clip is that of PPO's published code (its paper has
    none); 0 leaves the plain error.
    """
    error = (values - returns).square()
    if config.clip:
        clipped = old_values + (values - old_values).clamp(-config.clip, config.clip)
        worse = (clipped - returns).square()
        moved = (values - old_values).abs() > config.clip
        is_clipped, error = moved & (worse > error), torch.maximum(error, worse)
    else:
        is_clipped = torch.zeros_like(error).bool()
    loss = (weights * error).sum()
    with torch.no_grad():
        sums = ValueSums(
            num_tokens=returns.new_tensor(returns.numel(), dtype=torch.float64),
            loss=loss.double(),
            clipped=is_clipped.double().sum(),
            error_squared=(values - returns).double().square().sum(),
            returns=returns.double().sum(),
            returns_squared=returns.double().square().sum(),
        )
    return loss, sums
