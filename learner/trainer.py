"""One rank's torch side: forward, backward, clip, step; and its weights, whole.

Every public method is collective: all ranks call it in the same order with the same step, see `ranks.py`.
"""

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor

from learner.attention import Kind, choose
from learner.batch import MicroBatch
from learner.checkpoint import MOMENTS, TrainerState
from learner.config import OptimizerConfig
from learner.dtypes import DTYPES
from learner.loss import LossSums, Objective
from learner.model import CausalPolicy, PackedInput, load_policy
from learner.model_folder import write_model_folder
from learner.optim import build_optimizer, learning_rate
from learner.sharding import gathered, parameters, reshard, scatter, shard, whole
from learner.statistics import LogprobMismatch, StepStatistics, mismatch_over_ranks, total_over_ranks


@dataclass(frozen=True)
class TrainerOptions:
    """What does not change during a run."""

    optimizer: OptimizerConfig
    num_steps: int
    """Where the learning-rate schedule ends."""
    dtype: str = "float32"
    attention: str = "auto"
    trains_entropy: bool = False
    gradient_checkpointing: bool = False
    num_threads: int | None = None
    """Of this rank on the CPU; None: as the environment says (OMP_NUM_THREADS)."""


class Trainer:
    """The model, its optimizer and one objective, sharded over the ranks of the process group.

    trainer = Trainer(folder, objective, options, device)     # after ranks.connect
    statistics = trainer.step(microbatches, num_action_tokens=n, step=1, temperature=1.0)
    for name, tensor in trainer.named_weights("bfloat16"): ...

    All calls of one process come from one thread.
    """

    def __init__(
        self, folder: Path, objective: Objective, options: TrainerOptions, device: torch.device
    ) -> None:
        if options.num_threads is not None:
            torch.set_num_threads(options.num_threads)
        self.folder = folder
        self.device = device
        self.step_taken = 0
        self.num_skipped = 0
        self._objective = objective
        self._options = options
        dtype = DTYPES[options.dtype]
        self._attention: Kind = choose(options.attention, device, dtype)
        self._policy: CausalPolicy = load_policy(
            folder, gradient_checkpointing=options.gradient_checkpointing
        )
        shard(self._policy, device, dtype)
        self._parameters = parameters(self._policy)
        self._optimizer = build_optimizer(self._parameters.items(), options.optimizer)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The whole shape of every parameter, by name."""
        return {name: tuple(parameter.shape) for name, parameter in self._parameters.items()}

    def step(
        self, microbatches: Sequence[MicroBatch], *, num_action_tokens: int, step: int, temperature: float
    ) -> StepStatistics:
        """One optimizer step on this rank's micro-batches; every rank has equally many.

        `num_action_tokens` counts all ranks and normalises the loss. A gradient that is not finite leaves
        parameters and optimizer as they were; the step is counted as skipped. Raises ValueError when
        there is no action token at all: momentum alone would move the policy.
        """
        if num_action_tokens < 1:
            raise ValueError(f"step {step} has no action token to train on")
        started = time.perf_counter()
        self._optimizer.zero_grad(set_to_none=True)
        sums = [self._backward(microbatch, num_action_tokens, temperature) for microbatch in microbatches]
        rate = learning_rate(self._options.optimizer, step, self._options.num_steps)
        grad_norm = self._clip_gradient()
        is_skipped = not math.isfinite(grad_norm)
        if not is_skipped:
            for group in self._optimizer.param_groups:
                group["lr"] = rate
            self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        self.step_taken = step
        self.num_skipped += is_skipped
        totals = total_over_ranks(sums, sum(microbatch.num_tokens for microbatch in microbatches))
        return StepStatistics(
            step=step,
            grad_norm=grad_norm,
            learning_rate=rate,
            is_skipped=is_skipped,
            num_skipped=self.num_skipped,
            num_action_tokens=num_action_tokens,
            duration_s=time.perf_counter() - started,
            **vars(totals),
        )

    def logprobs(
        self, microbatches: Sequence[MicroBatch], *, temperature: float
    ) -> list[NDArray[np.float32]]:
        """log pi of the trained tokens of each micro-batch, in their order, [A] float32; changes nothing."""
        scored = []
        with torch.no_grad():
            for microbatch in microbatches:
                logprobs, _ = self._policy(self._packed(microbatch), temperature, False)
                scored.append(logprobs.cpu().numpy())
        reshard(self._policy)
        return scored

    def mismatch(
        self, microbatches: Sequence[MicroBatch], *, version: int, temperature: float
    ) -> LogprobMismatch:
        """How far this policy is from the recorded logprobs of `version`, over all ranks.

        Only trained tokens that `version` sampled are compared. Given this policy's own version this
        measures engine against learner; changes nothing.
        """
        differences = [np.zeros(0)]
        for microbatch, logprobs in zip(
            microbatches, self.logprobs(microbatches, temperature=temperature), strict=True
        ):
            trained = microbatch.is_trained
            difference = np.float64(logprobs) - microbatch.behaviour_logprobs[trained]
            differences.append(difference[microbatch.versions[trained] == version])
        return mismatch_over_ranks(np.concatenate(differences), self.device)

    def named_weights(self, dtype: str) -> Iterator[tuple[str, Tensor]]:
        """Every weight by its Hugging Face name, whole, on the CPU; tied ones under each name.

        Collective as it goes: every rank must exhaust it.
        """
        return gathered(self._policy, DTYPES[dtype])

    def save_huggingface(self, path: Path) -> None:
        """Write a Hugging Face folder in the model's dtype, whole or not at all; rank 0 writes."""
        weights = dict(self.named_weights(self._options.dtype))
        if dist.get_rank() == 0:
            write_model_folder(path, like=self.folder, weights=weights, dtype=self._options.dtype)

    def state(self) -> TrainerState:
        """All that later steps depend on, whole; the same at any number of ranks."""
        weights = {name: whole(parameter) for name, parameter in self._parameters.items()}
        optimizer: dict[str, Tensor] = {}
        for name, parameter in self._parameters.items():
            kept = self._optimizer.state.get(parameter, {})
            for moment in MOMENTS:
                optimizer[f"{moment}.{name}"] = whole(kept.get(moment, torch.zeros_like(parameter)))
            optimizer[f"step.{name}"] = whole(kept["step"]) if kept else torch.zeros(())
        return TrainerState(weights, optimizer, self.step_taken, self.num_skipped)

    def load_state(self, state: TrainerState | None, *, step: int, num_skipped: int) -> None:
        """Continue from a state that rank 0 gives (None elsewhere); `step` and `num_skipped` on every rank.

        Raises CheckpointError, before anything has changed, when names or shapes are not this model's.
        """
        if state is not None:
            state.refuse_unless(self.shapes)
        for name, parameter in self._parameters.items():
            weight = None if state is None else state.weights[name]
            with torch.no_grad():
                parameter.copy_(scatter(weight, parameter.detach()))
            kept = self._optimizer.state[parameter]
            for moment in MOMENTS:
                given = None if state is None else state.optimizer[f"{moment}.{name}"]
                kept[moment] = scatter(given, parameter.detach())
            count = None if state is None else state.optimizer[f"step.{name}"]
            kept["step"] = scatter(count, torch.zeros((), device=self.device))
        self.step_taken, self.num_skipped = step, num_skipped

    def _packed(self, microbatch: MicroBatch) -> PackedInput:
        return PackedInput.of(
            microbatch.tokens,
            microbatch.position_ids,
            microbatch.cu_seqlens,
            microbatch.is_trained,
            device=self.device,
            attention=self._attention,
        )

    def _backward(self, microbatch: MicroBatch, num_action_tokens: int, temperature: float) -> LossSums:
        target_logprobs, entropy = self._policy(
            self._packed(microbatch), temperature, self._options.trains_entropy
        )
        trained = microbatch.is_trained
        behaviour, advantages = (
            torch.from_numpy(array[trained]).to(self.device)
            for array in (microbatch.behaviour_logprobs, microbatch.advantages)
        )
        loss, sums = self._objective(target_logprobs, behaviour, advantages, entropy, num_action_tokens)
        # FSDP averages gradients over ranks; the loss is normalised over all of them, so it is a sum.
        torch.autograd.backward(loss * dist.get_world_size())
        return sums

    def _clip_gradient(self) -> float:
        norm = torch.nn.utils.clip_grad_norm_(
            self._parameters.values(), self._options.optimizer.max_grad_norm
        )
        return float(whole(norm))
