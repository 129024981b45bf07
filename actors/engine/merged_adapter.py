"""Adapters of a Hugging Face model without any adapter code in its forward pass: merged into its weights.

    weight = base + (alpha / rank) B A

The base of every adapted matrix is kept, so an adapter can always be taken back or exchanged, exactly.
"""

from collections.abc import Mapping
from typing import Any

import torch

from actors.engine.adapter_probe import difference
from common.messages import AdapterEntry, AdapterProbe
from common.weights.adapter import layer_and_part, tensor_name

Tensors = Mapping[str, torch.Tensor]


class MergedAdapter:
    """Which adapter is in the weights of one model; call it while nothing computes with them."""

    def __init__(self, model: Any) -> None:
        self._parameters = dict(model.named_parameters())
        self._model = model
        self._base: dict[str, torch.Tensor] = {}
        """What the adapted matrices were, by name."""
        self._served: tuple[AdapterEntry, Tensors] | None = None
        self._is_replaced = False

    @torch.no_grad()
    def apply(self, entry: AdapterEntry, tensors: Tensors) -> None:
        """Exchange what is merged for this adapter.

        ValueError when the model does not answer as the learner says it should (then the old one is back) or
        is not the adapter's base any more.
        """
        if self._is_replaced:
            raise ValueError("an adapter of the first weights, which have been replaced as a whole since")
        for layer in _layers(tensors):
            name = f"{layer}.weight"
            self._base.setdefault(name, self._parameters[name].detach().clone())
        before, probe = self._served, entry.probe
        if probe is not None:
            self._merge(None)
            base = self._measure(probe)
        self._merge((entry, tensors))
        if probe is not None:
            dtypes = {_dtype(tensor) for tensor in (*tensors.values(), *self._base.values())}
            if reason := difference(probe, base, self._measure(probe), dtypes):
                self._merge(before)
                raise ValueError(reason)
        self._served = (entry, tensors)

    def forget(self) -> None:
        """The weights have been replaced as a whole: nothing is merged into them, no adapter fits."""
        self._base.clear()
        self._served = None
        self._is_replaced = True

    def _merge(self, adapter: tuple[AdapterEntry, Tensors] | None) -> None:
        """Base weights everywhere, and on top of them `adapter`."""
        entry, tensors = adapter or (None, {})
        for name, base in self._base.items():
            layer = name.removesuffix(".weight")
            merged = base
            if entry is not None and tensor_name(layer, "A") in tensors:
                a, b = (tensors[tensor_name(layer, part)].to(base.device).float() for part in ("A", "B"))
                merged = base.float() + (entry.alpha / entry.rank) * (b @ a)
            self._parameters[name].copy_(merged)

    def _measure(self, probe: AdapterProbe) -> list[float]:
        """log pi of the probe's candidates."""
        tokens = torch.tensor([probe.tokens], device=self._model.device)
        logits = self._model(input_ids=tokens, use_cache=False, logits_to_keep=1).logits[0, -1].float()
        candidates = torch.tensor(probe.candidates, device=logits.device)
        measured: list[float] = logits.log_softmax(-1)[candidates].tolist()
        return measured


def _layers(tensors: Tensors) -> set[str]:
    """The names of the adapted layers; every name in a file that was checked is an adapter's."""
    found = (layer_and_part(name) for name in tensors)
    return {named[0] for named in found if named is not None}


def _dtype(tensor: torch.Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
