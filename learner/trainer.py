"""One rank's torch side: forward, backward, clip, step; and its weights, whole.

Every public method is collective: all ranks call it in the same order with the same step, see `ranks.py`.
"""

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor

from common.messages import AdapterEntry
from common.model_config import LoraConfig
from learner import parameter_state, scores, shard_file
from learner.algorithm_config import CriticConfig, GuardConfig, ReferenceConfig
from learner.batch import MicroBatch
from learner.checkpoint import TrainerState, restore
from learner.checkpoint_writer import RankCopy
from learner.config import OptimizerConfig
from learner.critic import CRITIC, ValueSums, value_loss
from learner.guards import ends_epochs, rate_scale, skips_update
from learner.loss import LossSums, Objective, TrainedTokens
from learner.model import PackedInput, Scored
from learner.model_folder import write_model_folder
from learner.networks import NetworkOptions, Networks
from learner.optim import build_optimizer, learning_rate, set_rates
from learner.random_state import capture_random
from learner.sharding import whole
from learner.statistics import (
    LogprobMismatch,
    StepStatistics,
    StepTotals,
    mismatch_over_ranks,
    total_over_ranks,
    value_metrics_over_ranks,
)


@dataclass(frozen=True)
class TrainerOptions:
    """What does not change during a run."""

    optimizer: OptimizerConfig
    num_steps: int
    """Where the learning-rate schedule ends."""
    dtype: str = "float32"
    lora: LoraConfig = field(default_factory=LoraConfig)
    attention: str = "auto"
    trains_entropy: bool = False
    gradient_checkpointing: bool = False
    num_threads: int | None = None
    """Of this rank on the CPU; None: as the environment says (OMP_NUM_THREADS)."""
    critic: CriticConfig = field(default_factory=CriticConfig)
    reference: ReferenceConfig | None = None
    """None: no reference model."""
    guards: GuardConfig = field(default_factory=GuardConfig)

    @property
    def networks(self) -> NetworkOptions:
        """Which networks there are."""
        return NetworkOptions(
            dtype=self.dtype,
            lora=self.lora,
            attention=self.attention,
            gradient_checkpointing=self.gradient_checkpointing,
            critic=self.critic,
            reference=self.reference,
        )


class Trainer:
    """The networks, their optimizer and one objective, sharded over the ranks of the process group.

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
        self._networks = Networks(folder, options.networks, device)
        self._parameters = self._networks.named_parameters()
        self._optimizer = build_optimizer(
            self._parameters.items(), options.optimizer, critic_rate=options.critic.learning_rate
        )

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The whole shape of every parameter, by name."""
        return {name: tuple(parameter.shape) for name, parameter in self._parameters.items()}

    def step(
        self, microbatches: Sequence[MicroBatch], *, num_action_tokens: int, step: int, temperature: float
    ) -> StepStatistics:
        """One optimizer update of step `step` on this rank's micro-batches; every rank has equally many.

        `num_action_tokens` counts all ranks. A gradient that is not finite leaves parameters and optimizer
        as they were, and so does a guard; the update is counted as skipped. Raises ValueError when there is
        no action token at all: momentum alone would move the policy.
        """
        if num_action_tokens < 1:
            raise ValueError(f"step {step} has no action token to train on")
        started = time.perf_counter()
        self._optimizer.zero_grad(set_to_none=True)
        trains_policy = step > self._options.critic.warmup_steps
        done = [self._backward(microbatch, temperature, trains_policy) for microbatch in microbatches]
        totals = total_over_ranks(
            [sums for sums, _ in done], sum(microbatch.num_tokens for microbatch in microbatches)
        )
        values = value_metrics_over_ranks([sums for _, sums in done if sums is not None])
        if not trains_policy:
            self._forget_policy_gradient()
        grad_norm = self._clip_gradient()
        rate = learning_rate(self._options.optimizer, step, self._options.num_steps)
        is_skipped = not math.isfinite(grad_norm) or self._is_held_back(totals)
        scale = rate_scale(self._options.guards, totals.effective_sample_share)
        if not is_skipped:
            set_rates(self._optimizer, rate, policy_scale=scale)
            self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        self.step_taken = step
        self.num_skipped += is_skipped
        return StepStatistics(
            step=step,
            grad_norm=grad_norm,
            learning_rate=rate * scale,
            is_skipped=is_skipped,
            num_skipped=self.num_skipped,
            num_action_tokens=num_action_tokens,
            duration_s=time.perf_counter() - started,
            critic=values,
            **vars(totals),
        )

    def _is_held_back(self, totals: StepTotals) -> bool:
        """Whether a guard forbids this update; the same on every rank."""
        guards = self._options.guards
        return skips_update(guards, totals.effective_sample_share) or ends_epochs(guards, totals.update_kl)

    def score(
        self, microbatches: Sequence[MicroBatch], *, temperature: float, wants: Sequence[str]
    ) -> list[scores.Arrays]:
        """What the networks say of this rank's micro-batches, see `scores.score`; changes nothing."""
        return scores.score(self._networks, microbatches, temperature, wants)

    def logprobs(
        self, microbatches: Sequence[MicroBatch], *, temperature: float
    ) -> list[NDArray[np.float32]]:
        """log pi of the trained tokens of each micro-batch, in their order, [A] float32; changes nothing."""
        scored = self.score(microbatches, temperature=temperature, wants=["proximal"])
        return [
            arrays["proximal"][microbatch.is_trained[microbatch.is_action]]
            for microbatch, arrays in zip(microbatches, scored, strict=True)
        ]

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
        """What an engine needs of the policy: all weights, or the adapters, see `Networks.named_weights`.

        Collective as it goes: every rank must exhaust it.
        """
        return self._networks.named_weights(dtype)

    @property
    def adapter(self) -> AdapterEntry | None:
        """What a manifest says of the policy's adapters; not collective."""
        return self._networks.adapter

    @property
    def vocabulary(self) -> int:
        """How many tokens the policy knows."""
        return int(self._networks.policy.causal_lm.config.vocab_size)

    def save_huggingface(self, path: Path) -> None:
        """Write a Hugging Face folder in the model's dtype, whole or not at all; rank 0 writes.

        Adapters are merged into the weights and lie beside them.
        """
        dtype = self._options.dtype
        weights = dict(self._networks.merged_weights(dtype))
        tensors = dict(self.named_weights(dtype)) if self._options.lora.is_on else {}
        if dist.get_rank() == 0:
            adapter = None if self.adapter is None else (self.adapter, tensors)
            write_model_folder(path, like=self.folder, weights=weights, dtype=dtype, adapter=adapter)

    def state(self) -> TrainerState:
        """All that later steps depend on, whole; the same at any number of ranks."""
        weights, moments = parameter_state.gathered(self._parameters, self._optimizer)
        return TrainerState(weights, moments, self.step_taken, self.num_skipped)

    def copied(self) -> RankCopy:
        """This rank's part of a checkpoint, copied to memory; what follows does not change it."""
        tensors = parameter_state.tensors(self._parameters, self._optimizer)
        return RankCopy(
            shards=shard_file.copied(tensors, is_first=dist.get_rank() == 0),
            random=capture_random(),
            shapes=self.shapes,
            step=self.step_taken,
            num_skipped=self.num_skipped,
        )

    def load(self, path: Path) -> None:
        """Continue from a checkpoint that any number of ranks wrote, see `checkpoint.restore`."""
        tensors = parameter_state.tensors(self._parameters, self._optimizer)
        manifest = restore(path, tensors, self.shapes, rank=dist.get_rank())
        self.step_taken, self.num_skipped = manifest.step, manifest.num_skipped

    def _backward(
        self, microbatch: MicroBatch, temperature: float, trains_policy: bool
    ) -> tuple[LossSums, ValueSums | None]:
        packed = self._networks.packed(microbatch)
        with torch.set_grad_enabled(trains_policy or self._networks.critic is None):
            scored = self._networks.policy(packed, temperature, self._options.trains_entropy)
        loss, sums = self._objective(self._trained(microbatch, scored))
        found = self._value_loss(microbatch, packed, scored)
        # FSDP averages gradients over ranks; the loss is normalised over all of them, so it is a sum.
        num_ranks = dist.get_world_size()
        parts = [loss] if trains_policy else []
        parts += [] if found is None else [self._options.critic.coefficient * found[0]]
        torch.autograd.backward([part * num_ranks for part in parts])
        return sums, None if found is None else found[1]

    def _trained(self, microbatch: MicroBatch, scored: Scored) -> TrainedTokens:
        return TrainedTokens(
            target_logprobs=scored.logprobs,
            entropy=scored.entropy,
            sequences=self._at_trained(microbatch, microbatch.sequence_ids().astype(np.int64)),
            num_sequences=microbatch.num_sequences,
            **{
                name: self._at_trained(microbatch, getattr(microbatch, name))
                for name in (
                    "behaviour_logprobs", "proximal_logprobs", "reference_logprobs", "advantages", "weights",
                )
            },
        )  # fmt: skip

    def _value_loss(
        self, microbatch: MicroBatch, packed: PackedInput, scored: Scored
    ) -> tuple[Tensor, ValueSums] | None:
        values = self._networks.values(packed, scored)
        if values is None:
            return None
        old, returns, weights = (
            self._at_trained(microbatch, array)
            for array in (microbatch.values, microbatch.returns, microbatch.weights)
        )
        return value_loss(values[: len(returns)], old, returns, weights, self._options.critic)

    def _at_trained(self, microbatch: MicroBatch, array: NDArray[np.generic]) -> Tensor:
        return torch.from_numpy(array[microbatch.is_trained]).to(self.device)

    def _forget_policy_gradient(self) -> None:
        """What a critic on the policy's trunk would do to it while the critic alone is trained."""
        for name, parameter in self._parameters.items():
            if not name.startswith(CRITIC):
                parameter.grad = None

    def _clip_gradient(self) -> float:
        """Clip the policy's gradient and the critic's, each by itself; the norm of the policy's before."""
        norms = [0.0, 0.0]
        for is_critic in (False, True):
            mine = [p for name, p in self._parameters.items() if name.startswith(CRITIC) == is_critic]
            if any(parameter.grad is not None for parameter in mine):
                norm = torch.nn.utils.clip_grad_norm_(mine, self._options.optimizer.max_grad_norm)
                norms[is_critic] = float(whole(norm))
        return norms[0] if math.isfinite(norms[1]) else norms[1]
