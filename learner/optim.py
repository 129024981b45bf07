"""AdamW over float32 masters, and the learning rate as a pure function of the step."""

import math
from collections.abc import Iterable

from torch import nn
from torch.optim import AdamW

from learner.config import OptimizerConfig


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


def build_optimizer(named_parameters: Iterable[tuple[str, nn.Parameter]], config: OptimizerConfig) -> AdamW:
    """AdamW; weight decay on matrices only, never on norms and biases.

    The learning rate is set before each step by the caller, see `learning_rate`.
    """
    matrices: list[nn.Parameter] = []
    vectors: list[nn.Parameter] = []
    for _, parameter in named_parameters:
        (matrices if parameter.ndim >= 2 else vectors).append(parameter)
    groups = [
        {"params": matrices, "weight_decay": config.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return AdamW(
        [group for group in groups if group["params"]],
        lr=config.learning_rate,
        betas=(config.beta1, config.beta2),
        eps=config.epsilon,
        fused=True,
    )
