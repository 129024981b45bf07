"""The part of a weight update that runs inside vLLM's worker, beside the model.

The worker calls these methods for the actor (`collective_rpc`), between two engine steps, while the
scheduler is paused. This process must be able to import this module and nothing else of ours.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import torch
from safetensors import safe_open
from vllm.model_executor.layers.vocab_parallel_embedding import ParallelLMHead
from vllm.model_executor.model_loader.reload.layerwise import finalize_layerwise_reload, get_layerwise_info


class WeightExtension:
    """Mixed into the worker: loads safetensors files in place and keeps those that are served mapped.

    A mapping outlives the deletion of its file, so the weights that are served can always be restored.
    """

    model_runner: Any

    def hold_weights(self, load: int, paths: list[str], served: int) -> None:
        """Map `paths` under the number `load` without applying them; of the earlier ones keep `served`."""
        held = self._held()
        for old in [number for number in held if number != served]:
            del held[old]
        held[load] = [safe_open(path, framework="pt") for path in paths]

    def apply_weights(self, load: int) -> None:
        """Put the weights held as `load` into the model, all of them."""
        with ExitStack() as failed:
            failed.callback(self._end_interrupted_reload)
            self.model_runner.reload_weights(weights_iterator=_tensors(self._held()[load]))
            failed.pop_all()
        # A CPU computes from a packed copy of each matrix. Reloading packs every layer that it loads into,
        # but a tied head is loaded through its embedding and would silently keep the old copy.
        for module in self.model_runner.get_model().modules():
            if isinstance(module, ParallelLMHead):
                module.quant_method.process_weights_after_loading(module)

    def _end_interrupted_reload(self) -> None:
        """Discard what half-loaded layers had buffered, so that the next reload begins from whole layers.

        vLLM keeps those buffers when loading raises, and would meet the same bad tensor again next time.
        """
        model = self.model_runner.get_model()
        for layer in model.modules():
            progress = get_layerwise_info(layer)
            if progress.can_load():
                progress.loaded_weights.clear()
                progress.load_numel = 0
        finalize_layerwise_reload(model, self.model_runner.model_config)

    def _held(self) -> dict[int, list[Any]]:
        """Open files by load number; the worker's own constructor does not know of them."""
        held: dict[int, list[Any]] = self.__dict__.setdefault("_held_weights", {})
        return held


def _tensors(files: list[Any]) -> Iterator[tuple[str, torch.Tensor]]:
    """Every (Hugging Face name, tensor) of the files: fused layers cannot be loaded in part."""
    for file in files:
        for name in file.keys():  # noqa: SIM118 - not a mapping
            yield name, file.get_tensor(name)
