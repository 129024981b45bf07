"""What one optimizer step did, over all ranks."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray

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
    mean_ratio: float
    max_ratio: float
    duration_s: float

    def metrics(self) -> dict[str, float]:
        """Every field as a number, and the rate in tokens per second."""
        return {
            **{k: float(v) for k, v in asdict(self).items()},
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
        mean_ratio=value["ratio"] / trained,
        max_ratio=float(largest),
    )


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
