"""The objective of an update: surrogate, sequence masks, and what holds the policy back.

The loss of an update is  sum_t weight_t loss_t  over the trained tokens of all micro-batches and ranks; the
weights come from `packing.token_weights`. log r = clamp(target_logprobs - behaviour_logprobs, -20, 20).
"""

from collections.abc import Callable

import torch
from torch import Tensor

from learner.algorithm_config import LossConfig
from learner.divergence import estimate
from learner.loss_sums import LossSums, sum_up
from learner.sequence_masks import is_out
from learner.surrogates import SURROGATES
from learner.trained_tokens import MAX_LOG_RATIO, TrainedTokens

__all__ = [
    "MAX_LOG_RATIO",
    "LossSums",
    "Objective",
    "TrainedTokens",
    "imitation",
    "objective",
    "policy_loss",
]

Objective = Callable[[TrainedTokens], tuple[Tensor, LossSums]]
"""Trained tokens of a micro-batch -> its share of the update's loss, and sums."""


def objective(config: LossConfig) -> Objective:
    """`policy_loss` under `config`."""
    return lambda tokens: policy_loss(tokens, config)


def imitation(tokens: TrainedTokens) -> tuple[Tensor, LossSums]:
    """The weighed negative log-likelihood  -sum_t weight_t advantage_t log pi_t; an `Objective`.

    The one objective of the offline trainers: with advantage 1 imitation, with the return of the trajectory
    reward-weighted likelihood (AgentEvol, arXiv:2406.04151), with the slopes of `offline.preference` DPO's
    gradient. The demonstrator's logprobs are unknown: the ratio is taken as 1 in the statistics.
    """
    loss = -(tokens.weights * tokens.advantages * tokens.target_logprobs).sum()
    none = torch.zeros_like(tokens.target_logprobs)
    return loss, sum_up(tokens, loss, none, none.bool())


def policy_loss(tokens: TrainedTokens, config: LossConfig) -> tuple[Tensor, LossSums]:
    """The scalar loss of these tokens, lower is better, and the sums for statistics.

        sum_t weight_t ( surrogate_t + behaviour_kl (log r_t)^2 + reference_kl k_t - entropy H_t )

    `surrogates` has the first term, `sequence_masks` what sets it to zero, `divergence` has k_t and its
    gradient (`kl_in = "loss"`). The losses of micro-batches add up to the loss of the update. Only
    `target_logprobs` and `entropy` carry gradient. No tokens give a zero that still carries (zero) gradient.
    """
    log_ratio = tokens.log_ratio
    surrogate, is_masked = SURROGATES[config.kind](tokens, config)
    out = is_out(tokens, config)
    per_token = surrogate.where(~out, surrogate.new_zeros(()))
    per_token = per_token + config.behaviour_kl * log_ratio.square()
    if config.reference_kl and config.kl_in == "loss":
        divergence = estimate(config.kl_kind, tokens.target_logprobs, tokens.reference_logprobs)
        per_token = per_token + config.reference_kl * divergence
    if config.entropy:
        per_token = per_token - config.entropy * tokens.entropy
    loss = (tokens.weights * per_token).sum()
    return loss, sum_up(tokens, loss, log_ratio, is_masked | (out & (tokens.advantages != 0)))
