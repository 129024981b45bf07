"""Oracles of the offline trainers: slow, float64, written to look like the papers."""

import math

import numpy as np


def dpo_loss(chosen: float, rejected: float, ref_chosen: float, ref_rejected: float, beta: float) -> float:
    """-log sigma( beta log pi(y_w)/ref(y_w) - beta log pi(y_l)/ref(y_l) ); arXiv:2305.18290, eq. 7."""
    h = beta * (chosen - ref_chosen) - beta * (rejected - ref_rejected)
    return -math.log(1 / (1 + math.exp(-h)))


def ipo_loss(chosen: float, rejected: float, ref_chosen: float, ref_rejected: float, tau: float) -> float:
    """( log [pi(y_w) ref(y_l) / (pi(y_l) ref(y_w))] - 1 / (2 tau) )^2; arXiv:2310.12036, eq. 17."""
    h = math.log(math.exp(chosen) * math.exp(ref_rejected) / (math.exp(rejected) * math.exp(ref_chosen)))
    return (h - 1 / (2 * tau)) ** 2


def reward_weighted_nll(logprobs: list[np.ndarray], returns: list[float]) -> float:
    """-sum_i R_i sum_t log pi_it / N over N action tokens; the negated objective of arXiv:2406.04151."""
    total = 0.0
    for logprob, value in zip(logprobs, returns, strict=True):
        for token in np.float64(logprob):
            total += value * token
    return -total / sum(len(logprob) for logprob in logprobs)
