"""Attention over packed sequences that never crosses from one sequence to another.

The model's linear layers run on packed tokens [1, T]; only attention knows where sequences begin. A dense
block mask would cost T^2 and loses to padding, so attention is computed sequence by sequence: by a varlen
flash kernel where there is one, otherwise by one causal SDPA call per run of equally long sequences.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AttentionInterface

from common.errors import ConfigurationError

IMPLEMENTATION = "pronghorn_packed"
"""The name under which transformers finds `packed_attention`; no mask is built for it."""

Kind = Literal["flash", "per_sequence"]


@dataclass(frozen=True, eq=False)
class Packing:
    """Where the sequences of a packed [1, T] input begin, as each kernel wants it."""

    cu_seqlens: Tensor
    """[B + 1] int32, on the device."""
    lengths: tuple[int, ...]
    kind: Kind

    @property
    def longest(self) -> int:
        """Tokens of the longest sequence."""
        return max(self.lengths)


def choose(wanted: str, device: torch.device, dtype: torch.dtype) -> Kind:
    """The best exact attention for this device and dtype.

    Flash kernels exist on CUDA in half precision only; ConfigurationError when asked for elsewhere.
    """
    has_flash = device.type == "cuda" and dtype in (torch.bfloat16, torch.float16)
    if wanted == "flash" and not has_flash:
        raise ConfigurationError(
            f"learner.attention = 'flash': needs CUDA and a half-precision model, this is {device.type} in "
            f" {str(dtype).removeprefix('torch.')}; allowed here are 'auto' and 'per_sequence'"
        )
    return "flash" if has_flash and wanted != "per_sequence" else "per_sequence"


def packed_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    packing: Packing | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    """Causal attention within each sequence of `packing`; query [1, H, T, D], key and value [1, K, T, D].

    Returns [1, T, H, D]. Raises ConfigurationError for a model whose attention needs more than this
    (soft cap, sinks, position bias, a window shorter than a sequence): a silent omission would train
    another model than the one that is served.
    """
    if packing is None:
        raise ValueError("packed attention was called without a packing: run the model through CausalPolicy")
    _refuse_what_is_not_computed(options, packing)
    # [1, H, T, D] -> [T, H, D]: a view, since projections produce tokens first.
    query, key, value = (states[0].transpose(0, 1) for states in (query, key, value))
    attend = _flash if packing.kind == "flash" else _per_sequence
    return attend(query, key, value, scaling, packing).unsqueeze(0), None


def _refuse_what_is_not_computed(options: dict[str, Any], packing: Packing) -> None:
    for name in ("softcap", "s_aux", "position_bias"):
        if options.get(name) is not None:
            raise ConfigurationError(f"model: its attention uses {name}, which the learner does not compute")
    if options.get("dropout"):
        raise ConfigurationError(
            f"model: attention_dropout = {options['dropout']}; only 0 keeps the ratio honest"
        )
    window = options.get("sliding_window")
    if window is not None and packing.longest > window:
        raise ConfigurationError(
            f"model: its sliding window of {window} is shorter than a sequence of {packing.longest} tokens; "
            "lower sampling.max_episode_tokens"
        )


def _per_sequence(
    query: Tensor, key: Tensor, value: Tensor, scaling: float | None, packing: Packing
) -> Tensor:
    """One SDPA call per run of equally long sequences; [T, H, D].

    Split, not slices: the backward of a slice fills a tensor of all T tokens with zeros, per sequence.
    """
    runs = [(length, sum(1 for _ in run)) for length, run in groupby(packing.lengths)]
    sizes = [length * count for length, count in runs]
    is_grouped = query.shape[1] != key.shape[1]
    outputs = []
    pieces = zip(runs, *(torch.split(states, sizes) for states in (query, key, value)), strict=True)
    for (length, count), *states in pieces:
        q, k, v = (s.reshape(count, length, s.shape[1], s.shape[2]).transpose(1, 2) for s in states)
        attended = F.scaled_dot_product_attention(
            q, k, v, is_causal=True, scale=scaling, enable_gqa=is_grouped
        )
        outputs.append(attended.transpose(1, 2).reshape(count * length, query.shape[1], value.shape[2]))
    return torch.cat(outputs)


def _flash(query: Tensor, key: Tensor, value: Tensor, scaling: float | None, packing: Packing) -> Tensor:
    """One varlen kernel call; [T, H, D]."""
    return _FLASH(query.contiguous(), key.contiguous(), value.contiguous(), scaling, packing)


def _from_flash_attn() -> Callable[..., Tensor] | None:
    """The kernel of the flash-attn package, where it is installed."""
    try:
        from flash_attn import flash_attn_varlen_func
    except ImportError:
        return None

    def attend(query: Tensor, key: Tensor, value: Tensor, scaling: float | None, packing: Packing) -> Tensor:
        ends, longest = packing.cu_seqlens, packing.longest
        output: Tensor = flash_attn_varlen_func(
            query, key, value, ends, ends, longest, longest, softmax_scale=scaling, causal=True
        )
        return output

    return attend


def _from_torch(query: Tensor, key: Tensor, value: Tensor, scaling: float | None, packing: Packing) -> Tensor:
    """The flash kernel that torch itself carries."""
    from torch.nn.attention.varlen import varlen_attn

    ends, longest = packing.cu_seqlens, packing.longest
    is_grouped = query.shape[1] != key.shape[1]
    attend = partial(varlen_attn, enable_gqa=True) if is_grouped else partial(varlen_attn)
    output = attend(query, key, value, ends, ends, longest, longest, scale=scaling, window_size=(-1, 0))
    assert isinstance(output, Tensor)
    return output


_FLASH = _from_flash_attn() or _from_torch

AttentionInterface.register(IMPLEMENTATION, packed_attention)
