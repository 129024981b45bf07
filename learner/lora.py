"""Low-rank adapters in a Hugging Face model: injected by PEFT, trained alone, switched off, merged.

    y = W x + (alpha / rank) B (A x)        W frozen; A [rank, in], B [out, rank] trained; arXiv:2106.09685

There is no dropout: the learner would score another policy than the one that the engines sample.
"""

import difflib
import hashlib
import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from common.errors import ConfigurationError
from common.messages import AdapterEntry
from common.model_config import LoraConfig
from common.weights.adapter import tensor_name

_ADAPTER = "default"
_TRAINED = re.compile(r"(?P<layer>.+)\.lora_(?P<part>[AB])\.default\.weight")
_BASE = ".base_layer"


def inject(causal_lm: Any, config: LoraConfig, dtype: torch.dtype) -> None:
    """Put adapters into the linear layers that `config` names, in place, and freeze everything else.

    What is frozen is kept in `dtype`, adapters in float32. The first adapter changes nothing (B is zero);
    A is the same on every rank and in every run of one seed. Raises ConfigurationError for an unknown
    target and for a rank that is no lower than a target's own.
    """
    # A third of a second and 12 MB that a run without adapters need not pay.
    from peft import LoraConfig as PeftConfig
    from peft import inject_adapter_in_model

    chosen = _chosen(causal_lm, config)
    for name, layer in chosen.items():
        smallest = min(layer.in_features, layer.out_features)
        if config.rank > smallest:
            raise ConfigurationError(
                f"model.lora.rank = {config.rank}: {name} is {layer.out_features} x {layer.in_features}; "
                f"at most {smallest} is allowed"
            )
    peft = PeftConfig(
        r=config.rank,
        lora_alpha=config.alpha,  # type: ignore[arg-type]  # PEFT only divides it by the rank
        target_modules=list(chosen),
        lora_dropout=0.0,
        bias="none",
    )
    inject_adapter_in_model(peft, causal_lm, adapter_name=_ADAPTER)
    for name, parameter in causal_lm.named_parameters():
        found = _TRAINED.fullmatch(name)
        parameter.requires_grad_(found is not None)
        if found is None:
            parameter.data = parameter.data.to(dtype)
        else:
            _begin(parameter, name, config.seed)


@contextmanager
def disabled(module: nn.Module) -> Iterator[None]:
    """`module` computes as the base model does for as long as the body runs, exactly."""
    layers = _adapted(module).values()
    for layer in layers:
        layer.set_scale(_ADAPTER, 0.0)
    try:
        yield
    finally:
        for layer in layers:
            layer.set_scale(_ADAPTER, 1.0)


def plain_name(name: str) -> str:
    """The name that a parameter of the injected model has outside: the model's own, or PEFT's."""
    found = _TRAINED.fullmatch(name)
    if found is not None:
        return tensor_name(found["layer"], found["part"])  # type: ignore[arg-type]
    return name.replace(_BASE, "")


def is_adapter(name: str) -> bool:
    """Whether a parameter of this name belongs to an adapter."""
    return _TRAINED.fullmatch(name) is not None


def pairs(module: nn.Module) -> dict[str, tuple[Tensor, Tensor, float]]:
    """A [rank, in], B [out, rank] and alpha / rank, by the name that the adapted weight has in `module`."""
    return {
        f"{name}{_BASE}.weight": (
            layer.lora_A[_ADAPTER].weight.detach(),
            layer.lora_B[_ADAPTER].weight.detach(),
            float(layer.scaling[_ADAPTER]),
        )
        for name, layer in _adapted(module).items()
    }


def _adapted(module: nn.Module) -> dict[str, Any]:
    """PEFT's layers by name: they alone have adapters."""
    return {name: part for name, part in module.named_modules() if hasattr(part, "lora_A")}


def merge(weight: Tensor, a: Tensor, b: Tensor, scale: float) -> Tensor:
    """W + scale B A in float32; all whole."""
    return weight.float() + scale * (b.float() @ a.float())


def describe(module: nn.Module, config: LoraConfig, base: str) -> AdapterEntry:
    """What a manifest says of the adapters in `module`, whose base model has the fingerprint `base`."""
    targets = {name.removesuffix(f"{_BASE}.weight").rpartition(".")[2] for name in pairs(module)}
    return AdapterEntry(rank=config.rank, alpha=config.alpha, targets=tuple(sorted(targets)), base=base)


def _chosen(causal_lm: Any, config: LoraConfig) -> dict[str, nn.Linear]:
    """The layers to adapt, by name."""
    head = causal_lm.get_output_embeddings()
    linear = {
        name: part
        for name, part in causal_lm.named_modules()
        if isinstance(part, nn.Linear) and part is not head
    }
    if config.targets == ("all-linear",):
        return linear
    known = sorted({name.rpartition(".")[2] for name in linear})
    for target in config.targets:
        if target not in known:
            near = difflib.get_close_matches(target, known, 1, 0.0)
            raise ConfigurationError(
                f"model.lora.targets: {target!r} is no linear layer of this model; the nearest is "
                f"{near[0]!r}, allowed are {', '.join(known)} or all-linear"
            )
    return {name: part for name, part in linear.items() if name.rpartition(".")[2] in config.targets}


@torch.no_grad()
def _begin(parameter: nn.Parameter, name: str, seed: int) -> None:
    """B zero, A uniform within 1 / sqrt(in) as PEFT has it, from a generator of the parameter's own."""
    if ".lora_B." in name:
        parameter.zero_()
        return
    digest = hashlib.blake2b(f"{seed}/{name}".encode(), digest_size=8).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest, "big") >> 1)
    bound = 1 / math.sqrt(parameter.shape[1])
    parameter.copy_((2 * torch.rand(parameter.shape, generator=generator) - 1) * bound)
