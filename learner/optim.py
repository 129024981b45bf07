"""AdamW over float32 masters, and the learning rate as a pure function of the step."""

import math
from collections.abc import Iterable

from torch import nn
from torch.optim import AdamW

from learner.config import OptimizerConfig
from learner.critic import CRITIC


def learning_rate(config: OptimizerConfig, step: int, num_steps: int) -> float:
    """The learning rate of optimizer step `step`, counted from 1, of `num_steps`.

    Rises linearly to the configured rate at step `warmup_steps`, then stays, or falls linearly or along
    half a cosine to `min_scale` of it at the last step; constant after that. Depends on nothing else, so
    it survives a resume.
    """
    if step <= config.warmup_steps:
        return config.learning_rate * step / config.warmup_steps
    if config.schedule == "constant":
        return config.learning_rate
    progress = min(1.0, (step - config.warmup_steps) / max(1, num_steps - config.warmup_steps))
    falls = 1 - progress if config.schedule == "linear" else 0.5 * (1 + math.cos(math.pi * progress))
    return config.learning_rate * (config.min_scale + (1 - config.min_scale) * falls)


def build_optimizer(
    named_parameters: Iterable[tuple[str, nn.Parameter]], config: OptimizerConfig, critic_rate: float = 0.0
) -> AdamW:
    """AdamW; weight decay on matrices only, never on norms and biases; a critic learns at a rate of its own.

    The learning rates are set before each update by the caller, see `learning_rate` and `set_rates`.
    """
    parts: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in named_parameters:
        parts.setdefault((name.startswith(CRITIC), parameter.ndim >= 2), []).append(parameter)
    groups = [
        {
            "params": mine,
            "weight_decay": config.weight_decay if is_matrix else 0.0,
            "rate_scale": critic_rate / config.learning_rate if is_critic else 1.0,
            "is_critic": is_critic,
        }
        for (is_critic, is_matrix), mine in sorted(parts.items(), reverse=True)
    ]
    return AdamW(
        groups,
        lr=config.learning_rate,
        betas=(config.beta1, config.beta2),
        eps=config.epsilon,
        fused=True,
    )


def set_rates(optimizer: AdamW, rate: float, policy_scale: float = 1.0) -> None:
    """The policy learns at `rate` times `policy_scale`; the critic's rate follows the same schedule."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["rate_scale"] * (1.0 if group["is_critic"] else policy_scale)
