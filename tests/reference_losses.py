"""Slow float64 oracles of the losses: one sequence, one token at a time, as the papers write them.

A rule gives for one token its loss and what grad log pi is multiplied by.
"""

from dataclasses import dataclass
from math import exp, expm1

import numpy as np
from numpy.typing import NDArray

from learner.algorithm_config import LossConfig

Vector = NDArray[np.float64]
Rule = tuple[float, float]

LIMIT = 20.0


@dataclass
class Played:
    """The trained tokens of one sequence; every field is [A]."""

    target: Vector
    behaviour: Vector
    proximal: Vector
    reference: Vector
    advantages: Vector
    entropy: Vector
    weights: Vector

    def __len__(self) -> int:
        return len(self.target)


def clamped(value: float) -> float:
    return min(LIMIT, max(-LIMIT, value))


def moves(value: float) -> float:
    """The derivative of the clamp."""
    return 1.0 if -LIMIT <= value <= LIMIT else 0.0


def clipped_surrogate(difference: float, a: float, config: LossConfig) -> Rule:
    """PPO, arXiv:1707.06347, eq. 7, bounds of arXiv:2503.14476, dual clip of arXiv:1912.09729."""
    r = exp(clamped(difference))
    inside = min(max(r, 1 - config.clip_low), 1 + config.clip_high)
    gain, slope = (r * a, r * a * moves(difference)) if r * a <= inside * a else (inside * a, 0.0)
    if config.dual_clip and a < 0 and gain < config.dual_clip * a:
        gain, slope = config.dual_clip * a, 0.0
    return -gain, -slope


def ppo(s: Played, t: int, config: LossConfig) -> Rule:
    return clipped_surrogate(s.target[t] - s.behaviour[t], s.advantages[t], config)


def decoupled_ppo(s: Played, t: int, config: LossConfig) -> Rule:
    """AReaL, arXiv:2505.24298: the proximal policy bounds the update, proximal / behaviour weighs it."""
    weight = min(exp(clamped(s.proximal[t] - s.behaviour[t])), config.max_ratio)
    loss, slope = clipped_surrogate(s.target[t] - s.proximal[t], s.advantages[t], config)
    return weight * loss, weight * slope


def dppo_tv(s: Played, t: int, config: LossConfig) -> Rule:
    """DPPO with the binary total-variation mask, arXiv:2602.04879: -M min(r, C) A."""
    pi, mu, a = exp(s.target[t]), exp(s.behaviour[t]), s.advantages[t]
    if (a > 0 and pi - mu > config.tv_delta) or (a < 0 and mu - pi > config.tv_delta):
        return 0.0, 0.0
    weight = min(exp(clamped(s.target[t] - s.behaviour[t])), config.max_ratio)
    return -weight * a, -weight * a


def ipo(s: Played, t: int, config: LossConfig) -> Rule:
    """The mask of `dppo_tv` in both directions."""
    if abs(exp(s.target[t]) - exp(s.behaviour[t])) > config.ipo_epsilon:
        return 0.0, 0.0
    weight = min(exp(clamped(s.target[t] - s.behaviour[t])), config.max_ratio)
    return -weight * s.advantages[t], -weight * s.advantages[t]


def tis(s: Played, t: int, config: LossConfig) -> Rule:
    """Truncated importance sampling, arXiv:1802.01561, eq. 1, per token."""
    weight = min(exp(clamped(s.target[t] - s.behaviour[t])), config.tis_cap)
    return -weight * s.advantages[t], -weight * s.advantages[t]


def icepop(s: Played, t: int, config: LossConfig) -> Rule:
    """arXiv:2510.18855: M(r) = r inside [alpha, beta], 0 outside."""
    r = exp(clamped(s.target[t] - s.behaviour[t]))
    weight = r if config.icepop_low <= r <= config.icepop_high else 0.0
    return -weight * s.advantages[t], -weight * s.advantages[t]


def cispo(s: Played, t: int, config: LossConfig) -> Rule:
    """MiniMax-M1, arXiv:2506.13585, eq. 4: sg(clip(r)) A log pi."""
    weight = min(max(exp(clamped(s.target[t] - s.behaviour[t])), config.cispo_low), config.cispo_high)
    return -weight * s.advantages[t] * s.target[t], -weight * s.advantages[t]


def gspo(s: Played, t: int, config: LossConfig) -> Rule:
    """GSPO-token, arXiv:2507.18071, eq. 13-14."""
    ratio, a = exp(mean_log_ratio(s)), s.advantages[t]
    inside = min(max(ratio, 1 - config.gspo_low), 1 + config.gspo_high)
    if ratio * a <= inside * a:
        return -ratio * a, -ratio * a
    return -inside * a, 0.0


def reinforce(s: Played, t: int, config: LossConfig) -> Rule:
    """Williams, 1992."""
    return -s.advantages[t] * s.target[t], -s.advantages[t]


RULES = {
    rule.__name__: rule for rule in (ppo, decoupled_ppo, dppo_tv, ipo, tis, icepop, cispo, gspo, reinforce)
}


def mean_log_ratio(s: Played) -> float:
    return sum(clamped(t - b) for t, b in zip(s.target, s.behaviour, strict=True)) / len(s)


def is_out(s: Played, t: int, config: LossConfig) -> bool:
    """Sequence masks: geometric mean, DeepSeek-V3.2's off-policy mask (arXiv:2512.02556), veto."""
    mean = mean_log_ratio(s)
    if config.geometric_high and not config.geometric_low <= exp(mean) <= config.geometric_high:
        return True
    if config.opsm_delta and s.advantages[t] < 0 and -mean > config.opsm_delta:
        return True
    for target, behaviour in zip(s.target, s.behaviour, strict=True):
        r = exp(clamped(target - behaviour))
        if r < config.veto_low or (config.veto_high and r > config.veto_high):
            return True
    return False


def kl(kind: str, difference: float) -> Rule:
    """Schulman's estimates of KL(pi || reference) of x = log pi - log reference, and their derivatives."""
    x = clamped(difference)
    value = {"k1": x, "k2": x * x / 2, "k3": expm1(-x) + x}[kind]
    slope = {"k1": 1.0, "k2": x, "k3": -expm1(-x)}[kind]
    return value, slope * moves(difference)


def token_loss(s: Played, t: int, config: LossConfig) -> Rule:
    """The objective of one token before it is weighed, and its gradient by log pi."""
    loss, slope = (0.0, 0.0) if is_out(s, t, config) else RULES[config.kind](s, t, config)
    difference = s.target[t] - s.behaviour[t]
    loss += config.behaviour_kl * clamped(difference) ** 2
    slope += config.behaviour_kl * 2 * clamped(difference) * moves(difference)
    if config.kl_in == "loss":
        value, by_target = kl(config.kl_kind, s.target[t] - s.reference[t])
        loss += config.reference_kl * value
        slope += config.reference_kl * by_target
    return loss - config.entropy * s.entropy[t], slope


def policy_loss(batch: list[Played], config: LossConfig) -> tuple[float, Vector]:
    """The loss of a batch and its gradient by every log pi, in order."""
    loss, gradient = 0.0, []
    for s in batch:
        for t in range(len(s)):
            value, slope = token_loss(s, t, config)
            loss += s.weights[t] * value
            gradient.append(s.weights[t] * slope)
    return loss, np.array(gradient)


def second_moment_kept(log_ratios: Vector, advantages: Vector, threshold: float) -> set[int]:
    """M2PO, arXiv:2510.01161, algorithm 1: drop the largest outward moment until the mean holds."""
    outward = [
        i
        for i, (x, a) in enumerate(zip(log_ratios, advantages, strict=True))
        if (a > 0 and x > 0) or (a < 0 and x < 0)
    ]
    dropped: set[int] = set()
    while outward and np.mean([log_ratios[i] ** 2 for i in outward]) > threshold:
        worst = max(outward, key=lambda i: log_ratios[i] ** 2)
        outward.remove(worst)
        dropped.add(worst)
    return set(range(len(log_ratios))) - dropped
