"""Slow float64 oracles in NumPy, written to look like the papers; what the fast code is tested against."""

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]


def clamped_log_ratio(target: Vector, behaviour: Vector) -> Vector:
    return np.array([min(20.0, max(-20.0, t - b)) for t, b in zip(target, behaviour, strict=True)])


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
