"""What one optimizer step did, over all ranks."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray

from learner.critic import ValueSums
from learner.loss import MAX_LOG_RATIO, LossSums


@dataclass(frozen=True)
class StepStatistics:
    """One optimizer step in numbers; means are over trained tokens."""

    step: int
    loss: float
    grad_norm: float
    """Before clipping; not finite when the step was skipped."""
    learning_rate: float
    is_skipped: bool
    """A gradient was not finite: parameters and optimizer stayed as they were."""
    num_skipped: int
    """Steps skipped since the first."""
    num_tokens: int
    num_action_tokens: int
    num_trained_tokens: int
    mismatch_kl: float
    """k3 estimate of KL(mu || pi), nats."""
    effective_sample_share: float
    """(sum r)^2 / (n sum r^2): 1 on policy, towards 0 as few tokens carry all weight."""
    abs_log_ratio: float
    """|log pi - log mu|, nats."""
    masked_share: float
    """Tokens whose gradient the clip, the mask or the cap took away or reduced."""
    entropy: float
    reference_kl: float
    """k3 estimate of KL(pi || reference), nats; 0 without a reference model."""
    update_kl: float
    """k3 estimate of KL(pi as the step began || pi), nats; 0 where that was not scored."""
    mean_ratio: float
    max_ratio: float
    duration_s: float
    critic: dict[str, float] = field(default_factory=dict)
    """The critic's numbers by name, see `value_metrics_over_ranks`; empty without one."""

    def metrics(self) -> dict[str, float]:
        """Every field as a number, and the rate in tokens per second."""
        values = asdict(self)
        return {
            **values.pop("critic"),
            **{k: float(v) for k, v in values.items()},
            "tokens_per_s": self.num_tokens / self.duration_s,
        }


@dataclass(frozen=True)
class StepTotals:
    """Sums over the micro-batches of all ranks; the same on every rank."""

    num_tokens: int
    """Read."""
    num_trained_tokens: int
    loss: float
    mismatch_kl: float
    effective_sample_share: float
    abs_log_ratio: float
    masked_share: float
    entropy: float
    reference_kl: float
    update_kl: float
    mean_ratio: float
    max_ratio: float


def total_over_ranks(sums: Sequence[LossSums], num_tokens: int) -> StepTotals:
    """Add up what the micro-batches of every rank gave; collective. `num_tokens` were read on this rank."""
    names = [field.name for field in fields(LossSums) if field.name != "max_ratio"]
    added = [torch.stack([getattr(s, name) for s in sums]).sum() for name in names]
    total = torch.stack([*added, added[0].new_tensor(num_tokens)])
    largest = torch.stack([s.max_ratio for s in sums]).max()
    dist.all_reduce(total)
    dist.all_reduce(largest, op=dist.ReduceOp.MAX)
    *values, read = total.tolist()
    value = dict(zip(names, values, strict=True))
    trained = max(1.0, value["num_tokens"])
    return StepTotals(
        num_tokens=int(read),
        num_trained_tokens=int(value["num_tokens"]),
        loss=value["loss"],
        mismatch_kl=value["mismatch_kl"] / trained,
        effective_sample_share=value["ratio"] ** 2 / max(trained * value["ratio_squared"], 1e-30),
        abs_log_ratio=value["abs_log_ratio"] / trained,
        masked_share=value["masked"] / trained,
        entropy=value["entropy"] / trained,
        reference_kl=value["reference_kl"] / trained,
        update_kl=value["update_kl"] / trained,
        mean_ratio=value["ratio"] / trained,
        max_ratio=float(largest),
    )


def value_metrics_over_ranks(sums: Sequence[ValueSums]) -> dict[str, float]:
    """How well the critic knew the returns of trained tokens, over all ranks; collective, empty without one.

    `value_explained` is 1 - E[(R - V)^2] / Var[R]: 1 is a perfect critic, 0 the mean, below 0 worse still.
    """
    if not sums:
        return {}
    names = [field.name for field in fields(ValueSums)]
    total = torch.stack([torch.stack([getattr(s, name) for s in sums]).sum() for name in names])
    dist.all_reduce(total)
    value = dict(zip(names, total.tolist(), strict=True))
    trained = max(1.0, value["num_tokens"])
    mean = value["returns"] / trained
    variance = value["returns_squared"] / trained - mean * mean
    return {
        "value_loss": value["loss"],
        "value_clipped_share": value["clipped"] / trained,
        "value_mean_return": mean,
        "value_explained": 1 - value["error_squared"] / trained / max(variance, 1e-12),
    }


@dataclass(frozen=True)
class LogprobMismatch:
    """How far recorded behaviour logprobs are from the learner's own, over trained tokens, in nats."""

    num_tokens: int
    mean: float
    """Of the absolute difference; 0 without tokens."""
    largest: float
    kl: float
    """k3 estimate of KL(mu || pi)."""


def mismatch_over_ranks(differences: NDArray[np.float64], device: torch.device) -> LogprobMismatch:
    """Summarise log pi - log mu ([A] on this rank) over all ranks; collective."""
    log_ratio = np.clip(differences, -MAX_LOG_RATIO, MAX_LOG_RATIO)
    k3 = np.exp(log_ratio) - 1 - log_ratio
    sums = torch.tensor(
        [len(differences), np.abs(differences).sum(), k3.sum()], dtype=torch.float64, device=device
    )
    largest = torch.tensor(np.abs(differences).max(initial=0.0), dtype=torch.float64, device=device)
    dist.all_reduce(sums)
    dist.all_reduce(largest, op=dist.ReduceOp.MAX)
    count, absolute, kl = sums.tolist()
    return LogprobMismatch(int(count), absolute / max(1.0, count), float(largest), kl / max(1.0, count))
