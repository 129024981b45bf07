"""The networks of one rank: the policy, and where they are asked for its critic and its reference model."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor, nn

from common.messages import AdapterEntry
from common.model_config import LoraConfig
from common.weights.adapter import fingerprint
from learner import lora
from learner.algorithm_config import CriticConfig, ReferenceConfig
from learner.attention import Kind, choose
from learner.batch import BoolVector, MicroBatch
from learner.critic import CRITIC, Critic
from learner.dtypes import DTYPES
from learner.model import CausalPolicy, PackedInput, Scored, load_causal_lm
from learner.sharding import adapter, gathered, parameters, reshard, shard


@dataclass(frozen=True)
class NetworkOptions:
    """Which networks there are, and what they are computed in."""

    dtype: str = "float32"
    attention: str = "auto"
    gradient_checkpointing: bool = False
    critic: CriticConfig = field(default_factory=CriticConfig)
    reference: ReferenceConfig | None = None
    """None: no reference model."""
    lora: LoraConfig = field(default_factory=LoraConfig)


class Networks:
    """All networks begin as the model in one folder, sharded over the ranks; float32 masters.

    With adapters the policy's weights are frozen, and the policy without its adapters is the reference model.
    """

    def __init__(self, folder: Path, options: NetworkOptions, device: torch.device) -> None:
        dtype = DTYPES[options.dtype]
        self._folder, self._options = folder, options
        self._device = device
        self._attention: Kind = choose(options.attention, device, dtype)
        self._is_shared = options.critic.kind == "shared"
        checkpointing = options.gradient_checkpointing
        causal_lm = load_causal_lm(folder, gradient_checkpointing=checkpointing)
        if options.lora.is_on:
            lora.inject(causal_lm, options.lora, dtype)
        self.policy = CausalPolicy(causal_lm, has_value_head=self._is_shared)
        shard(self.policy, device, dtype)
        self.critic: Critic | None = None
        if options.critic.kind == "separate":
            self.critic = Critic(load_causal_lm(folder, gradient_checkpointing=checkpointing))
            shard(self.critic, device, dtype)
        self.reference: CausalPolicy | None = None
        if options.reference is not None and not options.lora.is_on:
            self.reference = CausalPolicy(load_causal_lm(folder)).requires_grad_(False)
            shard(self.reference, device, dtype, offloads=options.reference.offload)

    def named_parameters(self) -> dict[str, nn.Parameter]:
        """All trained parameters: the policy's by their Hugging Face names, the critic's under `critic.`."""
        found = parameters(self.policy)
        valuer = self.policy.value_head if self.critic is None else self.critic
        if valuer is not None:
            found |= {CRITIC + name: parameter for name, parameter in valuer.named_parameters()}
        return found

    def named_weights(self, dtype: str) -> Iterator[tuple[str, Tensor]]:
        """What an engine needs of the policy, whole, on the CPU; collective as it goes.

        All weights by their Hugging Face names, or the adapter's by PEFT's.
        """
        return (adapter if self._options.lora.is_on else gathered)(self.policy, DTYPES[dtype])

    def merged_weights(self, dtype: str) -> Iterator[tuple[str, Tensor]]:
        """All weights of the policy by their Hugging Face names, adapters merged; collective as it goes."""
        return gathered(self.policy, DTYPES[dtype])

    @cached_property
    def adapter(self) -> AdapterEntry | None:
        """What a manifest says of the policy's adapters; None without. Reads the folder's weights once."""
        config = self._options.lora
        return lora.describe(self.policy, config, fingerprint(self._folder)) if config.is_on else None

    def scored_by_reference(self, packed: PackedInput, temperature: float) -> Scored:
        """What the reference model says."""
        if self._options.lora.is_on:
            with lora.disabled(self.policy):
                scored: Scored = self.policy(packed, temperature, False)
            return scored
        assert self.reference is not None, "no reference model is held"
        scored = self.reference(packed, temperature, False)
        return scored

    def packed(self, microbatch: MicroBatch, where: BoolVector | None = None) -> PackedInput:
        """The micro-batch on the device; targets are its trained tokens, or those `where` [T] is True."""
        return PackedInput.of(
            microbatch.tokens,
            microbatch.position_ids,
            microbatch.cu_seqlens,
            microbatch.is_trained if where is None else where,
            device=self._device,
            attention=self._attention,
        )

    def values(self, packed: PackedInput, scored: Scored) -> Tensor | None:
        """The critic's [A + B] values, see `PackedInput.valued`; None without a critic."""
        return scored.values if self.critic is None else self.critic(packed)

    def reshard(self) -> None:
        """Free the whole parameters that a forward pass without backward leaves behind."""
        for network in (self.policy, self.critic, self.reference):
            if network is not None:
                reshard(network)
