"""Estimates of the KL divergence from the reference model, from the sampled tokens alone.

With x = log pi - log reference of a token that pi sampled (Schulman, "Approximating KL divergence", 2020):

    k1 = x                    unbiased; of either sign; as a loss its expected gradient is 0: only noise
    k2 = x^2 / 2              biased as a value; as a loss its gradient x grad log pi is, on policy, the
                              unbiased gradient of KL(pi || reference), arXiv:2510.01555
    k3 = exp(-x) - 1 + x      unbiased, never negative; as a loss its gradient (1 - exp(-x)) grad log pi is
                              that of KL(reference || pi) in expectation, and near x = 0 that of k2

In the reward it is k1 whose policy gradient is that of KL(pi || reference), arXiv:2510.01555. Off policy the
tokens are those of mu: none of the estimates is importance-weighted, so they measure at what mu visits.
"""

from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from learner.algorithm_config import LossConfig
from learner.trained_tokens import clamped

Kind = Literal["k1", "k2", "k3"]


def estimate(kind: Kind, logprobs: Tensor, reference_logprobs: Tensor) -> Tensor:
    """The estimate per token, nats, [A]; x is clamped to +-MAX_LOG_RATIO. Gradient as the module says."""
    x = clamped(logprobs - reference_logprobs)
    if kind == "k1":
        return x
    if kind == "k2":
        return x.square() / 2
    return torch.expm1(-x) + x


def kl_penalty(
    config: LossConfig,
    behaviour_logprobs: NDArray[np.float32],
    reference_logprobs: NDArray[np.float32],
) -> NDArray[np.float64]:
    """[A] what the reward of each action token loses with `kl_in = "reward"`; zero without.

        reference_kl * k(log mu - log reference)

    Of the policy that sampled: the penalty is a reward of the episode as it was played.
    """
    if not config.needs_reference or config.kl_in != "reward":
        return np.zeros(len(behaviour_logprobs))
    mu, reference = (
        torch.from_numpy(np.asarray(values, np.float64))
        for values in (behaviour_logprobs, reference_logprobs)
    )
    penalty: NDArray[np.float64] = config.reference_kl * estimate(config.kl_kind, mu, reference).numpy()
    return penalty
