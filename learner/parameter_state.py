"""Parameters and their AdamW moments as named tensors: what a checkpoint holds of them."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer

from learner.checkpoint import COUNT, MOMENTS, WEIGHT
from learner.sharding import whole


def tensors(parameters: Mapping[str, nn.Parameter], optimizer: Optimizer) -> dict[str, Tensor]:
    """`weight.NAME`, `exp_avg.NAME`, `exp_avg_sq.NAME` and `step.NAME` ([1]); the very memory of this rank.

    Sharded as the parameters are, counts whole on every rank. Moments of a parameter that took no step
    are made here, zero, as AdamW would.
    """
    found: dict[str, Tensor] = {}
    for name, parameter in parameters.items():
        kept = optimizer.state[parameter]
        if not kept:
            kept[COUNT] = torch.zeros((), dtype=torch.float32, device=_device(parameter))
            for moment in MOMENTS:
                kept[moment] = torch.zeros_like(parameter)
        found[f"{WEIGHT}.{name}"] = parameter.detach()
        for moment in MOMENTS:
            found[f"{moment}.{name}"] = kept[moment]
        found[f"{COUNT}.{name}"] = kept[COUNT].view(1)
    return found


def _device(parameter: Tensor) -> torch.device:
    return parameter.to_local().device if isinstance(parameter, DTensor) else parameter.device


def gathered(
    parameters: Mapping[str, nn.Parameter], optimizer: Optimizer
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Weights by name and all else, whole, on the CPU of every rank; collective."""
    every = {name: whole(tensor) for name, tensor in tensors(parameters, optimizer).items()}
    return {name: every.pop(f"{WEIGHT}.{name}") for name in parameters}, every
