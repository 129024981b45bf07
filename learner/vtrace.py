"""V-trace: value targets for a policy other than the one that played. NumPy only, float64."""

import numpy as np

from learner.returns import Vector, accumulate, shifted

MAX_LOG_RATIO = 20.0


def vtrace(
    rewards: Vector,
    values: Vector,
    bootstrap: float,
    log_ratios: Vector,
    *,
    discounts: Vector,
    traces: Vector,
    rho_cap: float,
    c_cap: float,
) -> tuple[Vector, Vector]:
    """Advantages and the value targets v of the policy whose `log_ratios` are given; both [A].

        rho_t = min(rho_cap, r_t),  c_t = lambda_t min(c_cap, r_t),  r_t = exp(clamp(log_ratios_t, +-20))
        delta_t = rho_t (r'_t + gamma_t V_{t+1} - V_t),   V_A = v_A = bootstrap
        v_s = V_s + sum_{t >= s} (prod_{s <= i < t} gamma_i c_i) delta_t
        A_s = r'_s + gamma_s v_{s+1} - V_s
    IMPALA, arXiv:1802.01561, eq. 1, with lambda as in its remark 2; r' is the reward.

    A_s is *not* multiplied by rho_s: the importance weight of the action itself belongs to the loss, which
    reads it from fresher logprobs. With r = 1 everywhere, caps of at least 1 and lambda 1, v is the Monte
    Carlo return; on policy v is what `gae` fits the critic to, with any lambda. lambda shortens the trace in
    v alone: A_s sees all of v_{s+1}.
    """
    ratios = np.exp(np.clip(log_ratios, -MAX_LOG_RATIO, MAX_LOG_RATIO))
    rhos, cuts = np.minimum(rho_cap, ratios), traces * np.minimum(c_cap, ratios)
    deltas = rhos * (rewards + discounts * shifted(values, bootstrap) - values)
    targets = values + accumulate(deltas, discounts * cuts)
    return rewards + discounts * shifted(targets, bootstrap) - values, targets
