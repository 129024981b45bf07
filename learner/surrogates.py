"""The nine policy-gradient losses, per token, anchored on the recorded behaviour logprobs.

Throughout r = pi / mu, A the advantage, sg(.) carries no gradient. A policy gradient w is written
"-sg(w) A grad log pi": its value is no antiderivative. Masks are taken by `where`, never by a product.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from learner.algorithm_config import LossConfig, LossKind
from learner.trained_tokens import TrainedTokens, clamped

Surrogate = Callable[[TrainedTokens, LossConfig], tuple[Tensor, Tensor]]
"""Loss per token, lower is better; and where the clip, the mask or the cap took its gradient away or
reduced it; both [A]."""


def ppo(tokens: TrainedTokens, config: LossConfig) -> tuple[Tensor, Tensor]:
    """Clipped surrogate; a true derivative.

        -min(r A, clip(r, 1 - clip_low, 1 + clip_high) A)        PPO, arXiv:1707.06347, eq. 7
        for A < 0 at most  -dual_clip A                          dual clip, arXiv:1912.09729

    Separate bounds as in DAPO, arXiv:2503.14476.
    """
    return _clipped(tokens.log_ratio.exp(), tokens.advantages, config)


def decoupled_ppo(tokens: TrainedTokens, config: LossConfig) -> tuple[Tensor, Tensor]:
    """`ppo` around the proximal policy, importance-weighted; a true derivative.

        sg(w) ppo(u),   u = pi / proximal,   w = min(proximal / mu, max_ratio)
        AReaL, arXiv:2505.24298

    The dual clip bounds ppo(u), before it is weighted.
    """
    moved = clamped(tokens.target_logprobs - tokens.proximal_logprobs).exp()
    behind = clamped(tokens.proximal_logprobs - tokens.behaviour_logprobs).exp()
    surrogate, is_clipped = _clipped(moved, tokens.advantages, config)
    is_capped = (behind > config.max_ratio) & (tokens.advantages != 0)
    return behind.clamp(max=config.max_ratio) * surrogate, is_clipped | is_capped


def dppo_tv(tokens: TrainedTokens, config: LossConfig) -> tuple[Tensor, Tensor]:
    """Importance-weighted, masked where the probability has moved too far in the update's direction.

        -w A  with gradient  -sg(w) A grad log pi,   w = min(r, max_ratio)
        0     where pi - mu > tv_delta and A > 0, or mu - pi > tv_delta and A < 0

    DPPO, arXiv:2602.04879. Beyond the cap the weight is constant and the gradient stays: a token that has
    become far too likely can still be pushed down.
    """
    moved = _probability_moved(tokens)
    is_outside = torch.where(tokens.advantages > 0, moved > config.tv_delta, moved < -config.tv_delta)
    return _masked(tokens, is_outside, config)


def ipo(tokens: TrainedTokens, config: LossConfig) -> tuple[Tensor, Tensor]:
    """`dppo_tv` with a mask that does not ask for the direction.

    -w A  with gradient  -sg(w) A grad log pi,   w = min(r, max_ratio)
    0     where |pi - mu| > ipo_epsilon
    """
    return _masked(tokens, _probability_moved(tokens).abs() > config.ipo_epsilon, config)


def tis(tokens: TrainedTokens, config: LossConfig) -> tuple[Tensor, Tensor]:
    """Truncated importance sampling.

    -w A  with gradient  -sg(w) A grad log pi,   w = min(r, tis_cap)
    IMPALA's rho, arXiv:1802.01561, eq. 1, per token
    """
    ratio = _ratio(tokens)
    is_capped = (ratio > config.tis_cap) & (tokens.advantages != 0)
    return _weighted(tokens, ratio.clamp(max=config.tis_cap)), is_capped


def icepop(tokens: TrainedTokens, config: LossConfig) -> tuple[Tensor, Tensor]:
    """Importance-weighted, masked where the ratio is outside its bounds.

        -r A  with gradient  -sg(r) A grad log pi    where icepop_low <= r <= icepop_high
        0                                            elsewhere

    IcePop, Ring-1T, arXiv:2510.18855; with mu for pi as the step began as in GLM-5, arXiv:2602.15763.
    """
    ratio = _ratio(tokens)
    is_outside = (ratio < config.icepop_low) | (ratio > config.icepop_high)
    surrogate = _weighted(tokens, ratio)
    return surrogate.where(~is_outside, _zero(surrogate)), is_outside & (tokens.advantages != 0)


def cispo(tokens: TrainedTokens, config: LossConfig) -> tuple[Tensor, Tensor]:
    """The clipped ratio weighs the log-likelihood; no token loses its gradient.

    -sg(clip(r, cispo_low, cispo_high)) A log pi        MiniMax-M1, arXiv:2506.13585, eq. 4
    """
    ratio = _ratio(tokens)
    weight = ratio.clamp(config.cispo_low, config.cispo_high)
    is_capped = (ratio > config.cispo_high) & (tokens.advantages != 0)
    return -weight * tokens.advantages * tokens.target_logprobs, is_capped


def gspo(tokens: TrainedTokens, config: LossConfig) -> tuple[Tensor, Tensor]:
    """Clipped surrogate of the sequence's ratio, shared by its tokens.

        -min(s_t A_t, clip(s_t, 1 - gspo_low, 1 + gspo_high) A_t)
        s_t = sg(s) pi / sg(pi),   s = exp(mean of log r over the trained tokens of the sequence)

    GSPO-token, arXiv:2507.18071, eq. 13-14: token t has the gradient -s A_t grad log pi or none. Where the
    advantage is that of the sequence this is the derivative of GSPO, eq. 5. The paper averages over the
    tokens of a sequence, then over sequences: `aggregation = "seq-mean-token-mean"`.
    """
    ratio = tokens.sequence_mean(tokens.log_ratio.detach()).exp().to(tokens.advantages.dtype)
    is_clipped = torch.where(tokens.advantages > 0, ratio > 1 + config.gspo_high, ratio < 1 - config.gspo_low)
    bound = ratio.clamp(1 - config.gspo_low, 1 + config.gspo_high)
    surrogate = torch.where(is_clipped, -bound * tokens.advantages, _weighted(tokens, ratio))
    return surrogate, is_clipped & (tokens.advantages != 0)


def reinforce(tokens: TrainedTokens, config: LossConfig) -> tuple[Tensor, Tensor]:
    """-A log pi: as if the tokens were those of pi; a true derivative. Williams, 1992."""
    return -tokens.advantages * tokens.target_logprobs, torch.zeros_like(tokens.advantages).bool()


SURROGATES: dict[LossKind, Surrogate] = {
    "dppo_tv": dppo_tv,
    "ipo": ipo,
    "ppo": ppo,
    "decoupled_ppo": decoupled_ppo,
    "tis": tis,
    "icepop": icepop,
    "cispo": cispo,
    "gspo": gspo,
    "reinforce": reinforce,
}


def _clipped(ratio: Tensor, advantages: Tensor, config: LossConfig) -> tuple[Tensor, Tensor]:
    """PPO's clip of a ratio that carries gradient, and the dual clip."""
    bound = ratio.clamp(1 - config.clip_low, 1 + config.clip_high)
    surrogate = -torch.minimum(ratio * advantages, bound * advantages)
    is_clipped = torch.where(advantages > 0, ratio > 1 + config.clip_high, ratio < 1 - config.clip_low)
    if config.dual_clip:
        is_bounded = (advantages < 0) & (ratio > config.dual_clip)
        surrogate = torch.where(is_bounded, -config.dual_clip * advantages, surrogate)
        is_clipped = is_clipped | is_bounded
    return surrogate, is_clipped & (advantages != 0)


def _ratio(tokens: TrainedTokens) -> Tensor:
    return tokens.log_ratio.detach().exp()


def _probability_moved(tokens: TrainedTokens) -> Tensor:
    """pi - mu, without gradient."""
    return tokens.target_logprobs.detach().exp() - tokens.behaviour_logprobs.exp()


def _masked(tokens: TrainedTokens, is_outside: Tensor, config: LossConfig) -> tuple[Tensor, Tensor]:
    """Importance weight up to `max_ratio`, zero where the trust region ends."""
    ratio = _ratio(tokens)
    surrogate = _weighted(tokens, ratio.clamp(max=config.max_ratio))
    is_reduced = is_outside | (ratio > config.max_ratio)
    return surrogate.where(~is_outside, _zero(surrogate)), is_reduced & (tokens.advantages != 0)


def _weighted(tokens: TrainedTokens, weight: Tensor) -> Tensor:
    """-w A with gradient -w A grad log pi; the difference below is zero and carries the gradient."""
    target = tokens.target_logprobs
    return -weight * tokens.advantages * (1 + (target - target.detach()))


def _zero(like: Tensor) -> Tensor:
    return like.new_zeros(())
