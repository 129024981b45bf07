"""Slow float64 oracles of the advantages: every sum and product of the papers is written out."""

from collections.abc import Sequence
from math import exp, prod, sqrt


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def grpo(returns: Sequence[float], normalizes_std: bool) -> list[float]:
    """DeepSeekMath, arXiv:2402.03300, section 4.1.2; without std: Dr. GRPO, arXiv:2503.20783."""
    centre = mean(returns)
    std = sqrt(sum((r - centre) ** 2 for r in returns) / (len(returns) - 1))
    return [(r - centre) / (std + 1e-6) if normalizes_std else r - centre for r in returns]


def rloo(returns: Sequence[float]) -> list[float]:
    """arXiv:2402.14740: the baseline of a member is the mean return of the others."""
    return [r - mean([other for j, other in enumerate(returns) if j != i]) for i, r in enumerate(returns)]


def applied(rate: float, is_turn_end: Sequence[bool], unit: str) -> list[float]:
    """gamma_t or lambda_t of every action token."""
    return [rate if unit == "token" or ends else 1.0 for ends in is_turn_end]


def rewards_to_go(rewards: Sequence[float], gammas: Sequence[float]) -> list[float]:
    """REINFORCE++, arXiv:2501.03262: G_t = sum_{l >= t} (prod_{t <= i < l} gamma_i) r_l."""
    num = len(rewards)
    return [sum(prod(gammas[t:k]) * rewards[k] for k in range(t, num)) for t in range(num)]


def normalised(parts: Sequence[Sequence[float]]) -> list[list[float]]:
    """(A - mean) / std over all tokens of the batch."""
    together = [a for part in parts for a in part]
    if not together:
        return [[] for _ in parts]
    centre = mean(together)
    std = sqrt(mean([(a - centre) ** 2 for a in together]))
    return [[(a - centre) / (std + 1e-8) for a in part] for part in parts]


def temporal_differences(
    rewards: Sequence[float], values: Sequence[float], bootstrap: float, gammas: Sequence[float]
) -> list[float]:
    following = [*values, bootstrap]
    return [rewards[t] + gammas[t] * following[t + 1] - values[t] for t in range(len(rewards))]


def gae(
    rewards: Sequence[float],
    values: Sequence[float],
    bootstrap: float,
    gammas: Sequence[float],
    lambdas: Sequence[float],
) -> list[float]:
    """arXiv:1506.02438, eq. 16: A_t = sum_l (gamma lambda)^l delta_{t+l}, the power written as a product."""
    num = len(rewards)
    deltas = temporal_differences(rewards, values, bootstrap, gammas)
    decays = [g * k for g, k in zip(gammas, lambdas, strict=True)]
    return [sum(prod(decays[t:k]) * deltas[k] for k in range(t, num)) for t in range(num)]


def vtrace(
    rewards: Sequence[float],
    values: Sequence[float],
    bootstrap: float,
    log_ratios: Sequence[float],
    gammas: Sequence[float],
    lambdas: Sequence[float],
    rho_cap: float,
    c_cap: float,
) -> tuple[list[float], list[float]]:
    """IMPALA, arXiv:1802.01561, eq. 1 with remark 2; section 4.2's advantage without its rho_s, and v."""
    num = len(rewards)
    ratios = [exp(min(20.0, max(-20.0, log_r))) for log_r in log_ratios]
    rhos = [min(rho_cap, r) for r in ratios]
    cs = [k * min(c_cap, r) for k, r in zip(lambdas, ratios, strict=True)]
    deltas = temporal_differences(rewards, values, bootstrap, gammas)
    targets = [
        values[s] + sum(prod(gammas[s:t]) * prod(cs[s:t]) * rhos[t] * deltas[t] for t in range(s, num))
        for s in range(num)
    ]
    following = [*targets, bootstrap]
    return [rewards[s] + gammas[s] * following[s + 1] - values[s] for s in range(num)], targets


def placed_rewards(turns: Sequence[tuple[int, float]]) -> tuple[list[float], list[bool], float]:
    """Rewards [A], where turns end [A] and what found no token, of turns given as (action tokens, reward)."""
    owners = [index for index, (num, _) in enumerate(turns) for _ in range(num)]
    is_end = [t + 1 == len(owners) or owners[t + 1] != owner for t, owner in enumerate(owners)]
    rewards = [0.0] * len(owners)
    unplaced = 0.0
    for index, (_, reward) in enumerate(turns):
        not_later = [t for t, owner in enumerate(owners) if owner <= index]
        if not owners:
            unplaced += reward
        else:
            rewards[max(not_later, default=0)] += reward
    return rewards, is_end, unplaced
