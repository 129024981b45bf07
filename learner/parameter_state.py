"""Parameters and their AdamW moments, whole: out of the shards of all ranks and back. Collective."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from learner.checkpoint import MOMENTS, TrainerState
from learner.sharding import scatter, whole


def read(
    parameters: Mapping[str, nn.Parameter], optimizer: Optimizer
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Weights by name, and `exp_avg.NAME`, `exp_avg_sq.NAME`, `step.NAME`; zero where no step was taken."""
    weights = {name: whole(parameter) for name, parameter in parameters.items()}
    moments: dict[str, Tensor] = {}
    for name, parameter in parameters.items():
        kept = optimizer.state.get(parameter, {})
        for moment in MOMENTS:
            moments[f"{moment}.{name}"] = whole(kept.get(moment, torch.zeros_like(parameter)))
        moments[f"step.{name}"] = whole(kept["step"]) if kept else torch.zeros(())
    return weights, moments


def write(parameters: Mapping[str, nn.Parameter], optimizer: Optimizer, state: TrainerState | None) -> None:
    """Put a state, which only rank 0 gives, into the parameters and the optimizer of every rank."""
    for name, parameter in parameters.items():
        weight = None if state is None else state.weights[name]
        with torch.no_grad():
            parameter.copy_(scatter(weight, parameter.detach()))
        kept = optimizer.state[parameter]
        for moment in MOMENTS:
            given = None if state is None else state.optimizer[f"{moment}.{name}"]
            kept[moment] = scatter(given, parameter.detach())
        count = None if state is None else state.optimizer[f"step.{name}"]
        kept["step"] = scatter(count, torch.zeros((), device=parameter.device))
