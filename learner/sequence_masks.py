"""Masks that take a whole sequence out of the policy gradient, on top of any surrogate.

A sequence is one trajectory, over its trained tokens. Only its surrogate goes: what pulls the policy back
(behaviour KL, reference KL, entropy) stays, and stays where the policy has moved farthest. The weights of the
other tokens do not change: a mask never makes them louder.
"""

import torch
from torch import Tensor

from learner.algorithm_config import LossConfig
from learner.trained_tokens import TrainedTokens


@torch.no_grad()
def is_out(tokens: TrainedTokens, config: LossConfig) -> Tensor:
    """[A] whether a mask of `config` takes the token's sequence out; all False when none is asked for.

        geometric    exp(mean log r) outside geometric_low .. geometric_high, arXiv:2507.18071's ratio
        OPSM         A < 0 and mean(log mu - log pi) > opsm_delta, DeepSeek-V3.2, arXiv:2512.02556
        veto         any r below veto_low or above veto_high

    Of `geometric` and `veto` the whole sequence; of `OPSM` its tokens with a negative advantage.
    """
    log_ratio = tokens.log_ratio
    out = torch.zeros_like(log_ratio, dtype=torch.bool)
    if config.geometric_high:
        mean_ratio = tokens.sequence_mean(log_ratio).exp()
        out = out | (mean_ratio < config.geometric_low) | (mean_ratio > config.geometric_high)
    if config.opsm_delta:
        out = out | ((tokens.advantages < 0) & (-tokens.sequence_mean(log_ratio) > config.opsm_delta))
    if config.veto_low or config.veto_high:
        ratio = log_ratio.exp()
        vetoes = ratio < config.veto_low
        if config.veto_high:
            vetoes = vetoes | (ratio > config.veto_high)
        out = out | (tokens.sequence_sum(vetoes) > 0)
    return out
