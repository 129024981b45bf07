"""The policy as the learner runs it: packed tokens in, logprobs of trained tokens out."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import AutoModelForCausalLM
from transformers.utils import logging as transformers_logging

from common.errors import ConfigurationError
from learner.attention import IMPLEMENTATION, Kind, Packing

HEAD_ELEMENTS = 1 << 25
"""Logits held at once, in elements: 128 MiB in float32."""


@dataclass(frozen=True, eq=False)
class PackedInput:
    """One packed forward pass, on the device; see `batch.MicroBatch`."""

    tokens: Tensor
    """[1, T] int64."""
    position_ids: Tensor
    """[1, T] int64, restarting with each sequence."""
    predictors: Tensor
    """[A] int64: the index in T of the hidden state that predicts each trained token, in order."""
    targets: Tensor
    """[A] int64: those tokens."""
    valued: Tensor
    """[A + B] int64: the same indices, then the last of each sequence; where a critic is asked."""
    packing: Packing

    @classmethod
    def of(
        cls,
        tokens: NDArray[np.int32],
        position_ids: NDArray[np.int32],
        cu_seqlens: NDArray[np.int32],
        is_trained: NDArray[np.bool_],
        *,
        device: torch.device,
        attention: Kind,
    ) -> "PackedInput":
        """Move one micro-batch to `device`; an empty one becomes a single token that nothing is trained on.

        A rank with nothing to do must still take part in every collective of the step.
        """
        if len(tokens) == 0:
            tokens, position_ids = np.zeros(1, np.int32), np.zeros(1, np.int32)
            cu_seqlens, is_trained = np.array([0, 1], np.int32), np.zeros(1, np.bool_)
        trained = np.flatnonzero(is_trained)

        def moved(array: NDArray[Any]) -> Tensor:
            return torch.from_numpy(array.astype(np.int64)).to(device, non_blocking=True)

        packing = Packing(moved(cu_seqlens).to(torch.int32), tuple(np.diff(cu_seqlens).tolist()), attention)
        return cls(
            moved(tokens)[None],
            moved(position_ids)[None],
            moved(trained - 1),
            moved(tokens[trained]),
            moved(np.concatenate([trained - 1, cu_seqlens[1:] - 1])),
            packing,
        )


class Scored(NamedTuple):
    """What a policy says of one packed micro-batch; float32."""

    logprobs: Tensor
    """[A] log pi of each target, nats."""
    entropy: Tensor
    """[A] of the policy there, nats."""
    values: Tensor | None
    """[A + B] of the shared critic, see `PackedInput.valued`; None without one."""


class CausalPolicy(nn.Module):
    """A Hugging Face causal language model that scores trained tokens only.

    The head runs in float32, in chunks that are recomputed in the backward pass, on the hidden states
    that predict a trained token: [T, V] never exists.
    """

    def __init__(self, causal_lm: Any, *, has_value_head: bool = False) -> None:
        super().__init__()
        self.causal_lm = causal_lm
        self.value_head = value_head(causal_lm.config.hidden_size) if has_value_head else None

    def forward(self, packed: PackedInput, temperature: float, trains_entropy: bool) -> Scored:
        """What the policy says at `temperature`; the entropy carries gradient only when `trains_entropy`."""
        model: Any = self.causal_lm
        output = model.base_model(
            input_ids=packed.tokens, position_ids=packed.position_ids, use_cache=False, packing=packed.packing
        )
        states = output.last_hidden_state[0]
        hidden = states.index_select(0, packed.predictors).float()
        head = model.get_output_embeddings()
        bias = None if head.bias is None else head.bias.float()
        logprobs, entropy = score(
            hidden, head.weight.float(), bias, packed.targets, temperature, trains_entropy
        )
        values = None
        if self.value_head is not None:
            values = value_of(states.index_select(0, packed.valued), self.value_head)
        return Scored(logprobs, entropy, values)

    @property
    def layers(self) -> Sequence[nn.Module]:
        """The transformer blocks: what is sharded, and recomputed, one by one."""
        return blocks_of(self.causal_lm)


def blocks_of(model: Any) -> list[nn.Module]:
    """The transformer blocks of a Hugging Face model, first to last."""
    names = set(getattr(model, "_no_split_modules", None) or ())
    return [module for module in model.modules() if type(module).__name__ in names]


def value_head(hidden_size: int) -> nn.Linear:
    """A linear head to one number, float32, that says 0 until it has learnt something."""
    head = nn.Linear(hidden_size, 1)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    return head


def value_of(states: Tensor, head: nn.Linear) -> Tensor:
    """What the head says of each state, in float32: [N] of [N, H]."""
    return torch.mv(states.float(), head.weight.float()[0]) + head.bias.float()


def score(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    targets: Tensor,
    temperature: float,
    trains_entropy: bool,
    max_elements: int = HEAD_ELEMENTS,
) -> tuple[Tensor, Tensor]:
    """Log-softmax of (hidden weight^T + bias) / temperature at `targets`, and its entropy; both [A].

    hidden [A, H], weight [V, H], bias [V] or None, targets [A]; float32. More than `max_elements` logits are
    made in chunks, each recomputed in the backward pass.
    """
    rows = max(1, max_elements // weight.shape[0])
    if len(targets) <= rows:
        return _score_chunk(hidden, weight, bias, targets, temperature, trains_entropy)
    logprobs, entropies = [], []
    for part, wanted in zip(torch.split(hidden, rows), torch.split(targets, rows), strict=True):
        scored = checkpoint(
            _score_chunk, part, weight, bias, wanted, temperature, trains_entropy, use_reentrant=False
        )
        logprobs.append(scored[0])
        entropies.append(scored[1])
    return torch.cat(logprobs), torch.cat(entropies)


def _score_chunk(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    targets: Tensor,
    temperature: float,
    trains_entropy: bool,
) -> tuple[Tensor, Tensor]:
    with torch.autocast(hidden.device.type, enabled=False):
        logits = nn.functional.linear(hidden, weight, bias)
        if temperature != 1.0:
            logits = logits / temperature
        log_partition = logits.logsumexp(-1)
        logprobs = logits.gather(-1, targets[:, None])[:, 0] - log_partition
        with torch.set_grad_enabled(torch.is_grad_enabled() and trains_entropy):
            probabilities = (logits - log_partition[:, None]).exp()
            entropy = log_partition - (probabilities * logits).sum(-1)
    return logprobs, entropy


def load_causal_lm(folder: Path, *, gradient_checkpointing: bool = False) -> Any:
    """The causal language model in `folder` as transformers has it, with float32 parameters, on the CPU.

    Raises ConfigurationError, naming the folder, when there is none, when transformers cannot read it, or
    when the model computes something that the learner would leave out.
    """
    if not (folder / "config.json").is_file():
        raise ConfigurationError(f"model {folder}: no config.json there; give a Hugging Face model folder")
    transformers_logging.disable_progress_bar()
    try:
        causal_lm = AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, attn_implementation=IMPLEMENTATION, local_files_only=True
        )
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise ConfigurationError(f"model {folder}: {str(error).strip().splitlines()[0]}") from error
    _refuse_what_is_not_computed(causal_lm, folder)
    causal_lm.train()
    if gradient_checkpointing:
        causal_lm.gradient_checkpointing_enable({"use_reentrant": False})
    return causal_lm


def _refuse_what_is_not_computed(causal_lm: Any, folder: Path) -> None:
    """The head here is linear, and attention goes through transformers' interface; all else is refused."""
    if not getattr(causal_lm, "_supports_attention_backend", False):
        raise ConfigurationError(f"model {folder}: {type(causal_lm).__name__} has no exchangeable attention")
    for name in ("final_logit_softcapping", "logits_scaling", "logit_scale"):
        if getattr(causal_lm.config, name, None) not in (None, 1, 1.0):
            raise ConfigurationError(
                f"model {folder}: its head uses {name}, which the learner does not compute"
            )
    if not isinstance(causal_lm.get_output_embeddings(), nn.Linear):
        raise ConfigurationError(f"model {folder}: its head is no linear layer")
