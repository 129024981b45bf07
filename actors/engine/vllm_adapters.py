"""Low-rank adapters of a running vLLM engine: every version is one of its own, under a name never used again.

    load(7) --> check the file --> copy it --> add to the engine --> does it do what the learner says?
                     |                              |  failed, late or cancelled        |
                 WeightError                        +-> remove --> WeightError          +-> new requests use 7

Nothing is paused. A request ends with the adapter that it began with, so all its tokens are of one version;
an adapter is removed by the first load that finds no request using it.
"""

import asyncio
import itertools
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from actors.config import EngineConfig
from actors.engine.adapter_probe import difference
from actors.engine.model_folder import ModelFolder
from actors.engine.vllm_weights import Served, blamed
from common.errors import EngineDead, WeightError
from common.messages import AdapterProbe, WeightManifest
from common.weights.adapter import WEIGHTS_FILE, write_peft_config


@dataclass(eq=False)
class _Adapter:
    """One adapter in the engine, or the base model."""

    served: Served
    num_requests: int = 0
    """In the engine now, answered with it."""


class VllmAdapters:
    """Which adapter a vLLM engine answers new requests with; the base model's weights never change."""

    def __init__(self, llm: Any, folder: ModelFolder, config: EngineConfig) -> None:
        self._llm = llm
        self._folder = folder
        self._config = config
        self._one_at_a_time = asyncio.Lock()
        self._ids = itertools.count(1)
        self._probes = itertools.count()
        self._files = Path(tempfile.mkdtemp(prefix="pronghorn-adapters-"))
        self._newest = _Adapter(Served("base", version=0))
        self._older: list[_Adapter] = []
        self._base_says: dict[tuple[tuple[int, ...], tuple[int, ...]], list[float]] = {}
        """The base model's answer to the newest probe's question, by its tokens and candidates."""
        self.fault = ""
        """Never set: a request whose adapter is gone fails by itself."""

    @property
    def policy_version(self) -> int:
        """The version that new requests are answered with."""
        return self._newest.served.version or 0

    @contextmanager
    def serving(self) -> Iterator[Served]:
        """For as long as the body runs a request is in the engine, which answers with the newest adapter."""
        adapter = self._newest
        adapter.num_requests += 1
        try:
            yield adapter.served
        finally:
            adapter.num_requests -= 1

    async def start(self, policy_version: int) -> None:
        """Call the base model `policy_version`."""
        self._newest = _Adapter(Served("base", version=policy_version))

    def detach(self) -> None:
        """Let go of the engine, which is being closed; the version stays known."""
        self._llm = None
        shutil.rmtree(self._files, ignore_errors=True)

    async def load(self, manifest: WeightManifest, path: Path) -> None:
        """Answer new requests with the adapter in the file `path`; one load at a time.

        WeightError when the file is no adapter of this engine's base model (nothing was touched), when the
        engine does not take it within `update_s`, or when its answers are not those that the learner's
        probe promises; then the old adapter goes on. EngineDead when the engine does not answer any more.
        """
        async with self._one_at_a_time:
            if manifest.adapter is None:
                raise WeightError(
                    f"weights of version {manifest.version}: a whole model, and this engine serves adapters "
                    "(model.lora.rank > 0)"
                )
            await asyncio.to_thread(self._folder.check, manifest, path)
            served = await asyncio.to_thread(self._keep, manifest, path)
            async with AsyncExitStack() as undo:
                undo.push_async_callback(self._remove, served)
                with blamed(WeightError, f"weights of version {manifest.version}: not applied"):
                    async with asyncio.timeout(self._config.update_s):
                        await self._llm.add_lora(served.adapter)
                        reason = await self._compare(manifest, served)
                if reason:
                    raise WeightError(f"weights of version {manifest.version}: {reason}")
                undo.pop_all()
            self._older.append(self._newest)
            self._newest = _Adapter(served)
            await self._sweep()

    def _keep(self, manifest: WeightManifest, path: Path) -> Served:
        """A PEFT folder of our own: vLLM may read it again for as long as a request uses the adapter."""
        from vllm.lora.request import LoRARequest

        assert manifest.adapter is not None
        number = next(self._ids)
        name = f"version-{manifest.version}-load-{number}"
        folder = self._files / name
        folder.mkdir()
        shutil.copyfile(path, folder / WEIGHTS_FILE)
        write_peft_config(folder, manifest.adapter, str(self._folder.path))
        adapter = LoRARequest(lora_name=name, lora_int_id=number, lora_path=str(folder))
        return Served(name, adapter, manifest.version)

    async def _compare(self, manifest: WeightManifest, served: Served) -> str:
        """Why the engine does not answer as the learner does with this adapter; empty when it does."""
        assert manifest.adapter is not None
        probe = manifest.adapter.probe
        if probe is None:
            return ""
        question = (probe.tokens, probe.candidates)
        if question not in self._base_says:
            self._base_says = {question: await self._measure(probe, Served("base"))}
        dtypes: set[str] = {self._config.dtype, *(tensor.dtype for tensor in manifest.tensors)}
        return difference(probe, self._base_says[question], await self._measure(probe, served), dtypes)

    async def _measure(self, probe: AdapterProbe, served: Served) -> list[float]:
        """The engine's log pi of the probe's candidates."""
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        parameters = SamplingParams(
            max_tokens=1,
            logprob_token_ids=list(probe.candidates),
            detokenize=False,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )
        prompt = {"prompt_token_ids": list(probe.tokens), "cache_salt": served.cache_salt}
        name = f"probe-{next(self._probes)}"
        outputs = self._llm.generate(prompt, parameters, name, lora_request=served.adapter)
        final = [output async for output in outputs][-1]
        said = final.outputs[0].logprobs[0]
        return [said[token].logprob for token in probe.candidates]

    async def _sweep(self) -> None:
        """Remove the adapters that no request uses any more."""
        for adapter in [adapter for adapter in self._older if not adapter.num_requests]:
            await self._remove(adapter.served)
            self._older.remove(adapter)

    async def _remove(self, served: Served) -> None:
        """Take an adapter out of the engine; the base model stays."""
        if served.adapter is None:
            return
        with blamed(EngineDead, "the vLLM engine does not let go of an adapter"):
            async with asyncio.timeout(self._config.update_s):
                await self._llm.remove_lora(served.adapter.lora_int_id)
        shutil.rmtree(served.adapter.lora_path, ignore_errors=True)
