"""Policy-gradient losses anchored on the recorded behaviour logprobs.

All tensors are float32 [A] over trained action tokens, logprobs in nats; with
log r = clamp(target_logprobs - behaviour_logprobs, -20, 20). Losses are sums divided by a count that
the caller gives: action tokens of the whole step, before any masking, over all ranks and micro-batches.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from learner.config import LossConfig

MAX_LOG_RATIO = 20.0

Surrogate = Callable[[Tensor, Tensor, Tensor, LossConfig], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class LossSums:
    """Sums over trained tokens, for statistics; 0-dimensional float64 tensors without gradient."""

    num_tokens: Tensor
    loss: Tensor
    """Already divided by the step's count of action tokens."""
    mismatch_kl: Tensor
    """k3 of KL(mu || pi): r - 1 - log r."""
    ratio: Tensor
    ratio_squared: Tensor
    abs_log_ratio: Tensor
    masked: Tensor
    """Tokens whose policy gradient the clip, the mask or the cap took away or reduced."""
    entropy: Tensor
    max_ratio: Tensor
    """A maximum, not a sum; 0 without tokens."""


Objective = Callable[[Tensor, Tensor, Tensor, Tensor, int], tuple[Tensor, LossSums]]
"""(target_logprobs, behaviour_logprobs, advantages, entropy, num_action_tokens) -> loss and sums."""


def objective(config: LossConfig) -> Objective:
    """`policy_loss` under `config`."""

    def loss_of(
        logprobs: Tensor, behaviour: Tensor, advantages: Tensor, entropy: Tensor, count: int
    ) -> tuple[Tensor, LossSums]:
        return policy_loss(logprobs, behaviour, advantages, entropy, config, count)

    return loss_of


def imitation(
    target_logprobs: Tensor,
    behaviour_logprobs: Tensor,
    advantages: Tensor,
    entropy: Tensor,
    num_action_tokens: int,
) -> tuple[Tensor, LossSums]:
    """The negative log-likelihood of the action tokens, divided by `num_action_tokens`; an `Objective`.

    The demonstrator's logprobs are unknown: the ratio is taken as 1 in the statistics.
    """
    loss = -target_logprobs.sum() / max(1, num_action_tokens)
    return loss, _sums(
        loss, torch.zeros_like(target_logprobs), torch.zeros_like(target_logprobs).bool(), entropy
    )


def policy_loss(
    target_logprobs: Tensor,
    behaviour_logprobs: Tensor,
    advantages: Tensor,
    entropy: Tensor,
    config: LossConfig,
    num_action_tokens: int,
) -> tuple[Tensor, LossSums]:
    """The scalar loss of these tokens, lower is better, and the sums for statistics.

        ( sum_t surrogate_t + behaviour_kl (log r_t)^2 - config.entropy H_t ) / num_action_tokens

    The losses of micro-batches add up to the loss of the step. Only `target_logprobs` and `entropy` carry
    gradient. No tokens give a zero that still carries (zero) gradient.
    """
    log_ratio = (target_logprobs - behaviour_logprobs).clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO)
    surrogate, is_masked = SURROGATES[config.kind](target_logprobs, log_ratio, advantages, config)
    per_token = surrogate + config.behaviour_kl * log_ratio.square()
    if config.entropy:
        per_token = per_token - config.entropy * entropy
    loss = per_token.sum() / max(1, num_action_tokens)
    return loss, _sums(loss, log_ratio, is_masked, entropy)


def ppo(
    target_logprobs: Tensor, log_ratio: Tensor, advantages: Tensor, config: LossConfig
) -> tuple[Tensor, Tensor]:
    """Clipped surrogate per token, and where the clip holds.

    -min(r A, clip(r, 1 - clip_low, 1 + clip_high) A)
    PPO, arXiv:1707.06347, eq. 7; separate bounds as in DAPO, arXiv:2503.14476.
    """
    ratio = log_ratio.exp()
    clipped = ratio.clamp(1 - config.clip_low, 1 + config.clip_high)
    is_clipped = torch.where(advantages > 0, ratio > 1 + config.clip_high, ratio < 1 - config.clip_low)
    surrogate = -torch.minimum(ratio * advantages, clipped * advantages)
    return surrogate, is_clipped & (advantages != 0)


def dppo_tv(
    target_logprobs: Tensor, log_ratio: Tensor, advantages: Tensor, config: LossConfig
) -> tuple[Tensor, Tensor]:
    """Importance-weighted surrogate per token, masked by divergence of probability; and where it is masked.

        -w A  with gradient  -w A grad log pi,   w = min(r, max_ratio)
        0     where pi - mu > tv_delta and A > 0, or mu - pi > tv_delta and A < 0

    DPPO, arXiv:2602.04879. Beyond the cap the weight is constant and the gradient stays: a token that has
    become far too likely can still be pushed down.
    """
    behaviour = target_logprobs.detach() - log_ratio.detach()
    divergence = target_logprobs.detach().exp() - behaviour.exp()
    is_masked = torch.where(advantages > 0, divergence > config.tv_delta, divergence < -config.tv_delta)
    is_masked = is_masked & (advantages != 0)
    surrogate = _weighted(target_logprobs, log_ratio, advantages, config.max_ratio)
    return torch.where(is_masked, torch.zeros_like(surrogate), surrogate), is_masked


def tis(
    target_logprobs: Tensor, log_ratio: Tensor, advantages: Tensor, config: LossConfig
) -> tuple[Tensor, Tensor]:
    """Truncated importance sampling per token, and where the weight is truncated.

    -w A  with gradient  -w A grad log pi,   w = min(r, tis_cap)
    IMPALA's rho, arXiv:1802.01561, eq. 1, per token.
    """
    return _weighted(
        target_logprobs, log_ratio, advantages, config.tis_cap
    ), log_ratio.detach().exp() > config.tis_cap


def _weighted(target_logprobs: Tensor, log_ratio: Tensor, advantages: Tensor, cap: float) -> Tensor:
    """-w A with gradient -w A grad log pi; the difference below is zero and carries the gradient."""
    weight = log_ratio.detach().exp().clamp(max=cap)
    return -weight * advantages * (1 + (target_logprobs - target_logprobs.detach()))


SURROGATES: dict[str, Surrogate] = {"ppo": ppo, "dppo_tv": dppo_tv, "tis": tis}


@torch.no_grad()
def _sums(loss: Tensor, log_ratio: Tensor, is_masked: Tensor, entropy: Tensor) -> LossSums:
    log_ratio = log_ratio.double()
    ratio = log_ratio.exp()
    return LossSums(
        num_tokens=ratio.new_tensor(ratio.numel()),
        loss=loss.double(),
        mismatch_kl=(ratio - 1 - log_ratio).sum(),
        ratio=ratio.sum(),
        ratio_squared=ratio.square().sum(),
        abs_log_ratio=log_ratio.abs().sum(),
        masked=is_masked.sum().double(),
        entropy=entropy.double().sum(),
        max_ratio=ratio.max() if ratio.numel() else ratio.new_zeros(()),
    )
