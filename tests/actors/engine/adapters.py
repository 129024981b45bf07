"""Adapters of the tiny model as a learner would publish them, and the merged models to compare with."""

from pathlib import Path

import torch

from common.messages import AdapterEntry, AdapterProbe, WeightManifest
from common.model_config import LoraConfig
from common.weights.adapter import fingerprint, tensor_name
from learner.probe import question
from tests.actors.engine import tiny

LORA = LoraConfig(rank=4, alpha=8.0)
SCALE = LORA.alpha / LORA.rank


def tensors(seed: int, size: float = 0.15) -> dict[str, torch.Tensor]:
    """Random A and B for every linear layer but the head; with a `size` of 0 they do nothing."""
    generator = torch.Generator().manual_seed(seed)
    made = {}
    for name, weight in tiny.model(0).named_parameters():
        if "_proj" in name:
            layer, (rows, columns) = name.removesuffix(".weight"), weight.shape
            made[tensor_name(layer, "A")] = torch.randn(LORA.rank, columns, generator=generator) * 0.15
            made[tensor_name(layer, "B")] = torch.randn(rows, LORA.rank, generator=generator) * size
    return made


@torch.no_grad()
def merged(adapter: dict[str, torch.Tensor]) -> tiny.LlamaForCausalLM:
    """The tiny model of seed 0 with the adapter in its weights."""
    model = tiny.model(0)
    for name, weight in model.named_parameters():
        layer = name.removesuffix(".weight")
        if tensor_name(layer, "A") in adapter:
            weight += SCALE * adapter[tensor_name(layer, "B")] @ adapter[tensor_name(layer, "A")]
    return model


def probe(adapter: dict[str, torch.Tensor]) -> AdapterProbe:
    """What the learner would promise of it."""
    tokens, candidates = question(tiny.VOCABULARY)

    def said(model: tiny.LlamaForCausalLM) -> tuple[float, ...]:
        return tuple(tiny.logprobs(model, list(tokens), [candidate])[0] for candidate in candidates)

    return AdapterProbe(
        tokens=tokens, candidates=candidates, base=said(tiny.model(0)), adapted=said(merged(adapter))
    )


def publish(
    folder: Path,
    adapter: dict[str, torch.Tensor],
    version: int,
    *,
    promised: dict[str, torch.Tensor] | None = None,
    base: str | None = None,
) -> tuple[WeightManifest, Path]:
    """The adapter as a file for an engine of `folder / "model"`; its probe is that of `promised`."""
    file = folder / f"{version}.safetensors"
    manifest = tiny.publish_tensors(file, adapter, version)
    entry = AdapterEntry(
        rank=LORA.rank,
        alpha=LORA.alpha,
        targets=("down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj"),
        base=base or fingerprint(folder / "model"),
        probe=probe(adapter if promised is None else promised),
    )
    return manifest.model_copy(update={"adapter": entry}), file
