"""Slow float64 oracles in NumPy, written to look like the papers; what the fast code is tested against."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Vector = NDArray[np.float64]


def grpo_advantages(returns: ArrayLike, normalizes_std: bool) -> Vector:
    """DeepSeekMath, arXiv:2402.03300, section 4.1.2; without std: Dr. GRPO, arXiv:2503.20783."""
    values = [float(r) for r in np.asarray(returns)]
    mean = sum(values) / len(values)
    std = (sum((r - mean) ** 2 for r in values) / (len(values) - 1)) ** 0.5
    return np.array([(r - mean) / (std + 1e-6) if normalizes_std else r - mean for r in values])


def clamped_log_ratio(target: Vector, behaviour: Vector) -> Vector:
    return np.array([min(20.0, max(-20.0, t - b)) for t, b in zip(target, behaviour, strict=True)])


def ppo_loss(
    target: Vector, behaviour: Vector, advantages: Vector, low: float, high: float
) -> tuple[Vector, Vector]:
    """PPO, arXiv:1707.06347, eq. 7: -min(r A, clip(r) A) per token, and its derivative by log pi."""
    losses, gradients = [], []
    for log_r, a in zip(clamped_log_ratio(target, behaviour), advantages, strict=True):
        r = np.exp(log_r)
        unclipped, clipped = r * a, min(max(r, 1 - low), 1 + high) * a
        losses.append(-min(unclipped, clipped))
        moves = unclipped <= clipped and abs(log_r) < 20
        gradients.append(-r * a if moves else 0.0)
    return np.array(losses), np.array(gradients)


def dppo_tv_loss(
    target: Vector, behaviour: Vector, advantages: Vector, delta: float, cap: float
) -> tuple[Vector, Vector]:
    """DPPO with the binary total-variation mask, arXiv:2602.04879: -M min(r, C) A and its policy gradient."""
    losses, gradients = [], []
    for t, log_r, a in zip(target, clamped_log_ratio(target, behaviour), advantages, strict=True):
        pi, mu, r = np.exp(t), np.exp(t - log_r), np.exp(log_r)
        keeps = not ((a > 0 and pi - mu > delta) or (a < 0 and mu - pi > delta))
        weight = min(r, cap) if keeps else 0.0
        losses.append(-weight * a)
        gradients.append(-weight * a)
    return np.array(losses), np.array(gradients)


def tis_loss(target: Vector, behaviour: Vector, advantages: Vector, cap: float) -> tuple[Vector, Vector]:
    """Truncated importance sampling, per token: -min(r, c) A, whose gradient is -min(r, c) A grad log pi."""
    weights = np.minimum(np.exp(clamped_log_ratio(target, behaviour)), cap)
    return -weights * advantages, -weights * advantages


def behaviour_penalty(target: Vector, behaviour: Vector, weight: float) -> tuple[Vector, Vector]:
    """weight (log r)^2 per token and its derivative by log pi."""
    log_r = clamped_log_ratio(target, behaviour)
    inside = np.abs(target - behaviour) <= 20
    return weight * log_r**2, np.where(inside, 2 * weight * log_r, 0.0)


def k3(target: Vector, behaviour: Vector) -> float:
    """Schulman's low-variance estimate of KL(mu || pi): the mean of r - 1 - log r."""
    log_r = clamped_log_ratio(target, behaviour)
    return float(np.mean(np.exp(log_r) - 1 - log_r))


def effective_sample_share(target: Vector, behaviour: Vector) -> float:
    """Kish: (sum r)^2 / (n sum r^2)."""
    r = np.exp(clamped_log_ratio(target, behaviour))
    return float(r.sum() ** 2 / (len(r) * (r**2).sum()))


def log_softmax(logits: Vector, temperature: float) -> Vector:
    """Rows of log p at a temperature; [A, V]."""
    scaled = np.asarray(logits, np.float64) / temperature
    shifted = scaled - scaled.max(-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(-1, keepdims=True)))
