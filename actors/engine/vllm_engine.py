"""vLLM inside an actor: tokens in, tokens out, weights replaced while requests are in flight.

The engine proper runs in a process of its own that vLLM starts; this side sends requests and waits.
"""

import asyncio
import itertools
import time
from pathlib import Path
from typing import Any

import numpy as np

from actors.config import EngineConfig
from actors.engine import vllm_options
from actors.engine.engine import EngineLoad, Generation
from actors.engine.meter import LoadMeter
from actors.engine.model_folder import ModelFolder
from actors.engine.vllm_adapters import VllmAdapters
from actors.engine.vllm_weights import Served, VllmWeights, line
from common.aio import within
from common.arrays import Int32
from common.errors import ConfigurationError, EngineDead, EngineFault, WeightError
from common.messages import Sampling, WeightManifest
from common.model_config import LoraConfig
from common.trajectory import VersionSpan


class VllmEngine:
    """An `Engine` on vLLM's `AsyncLLM`, the same on a CPU and on CUDA; start and use it on one event loop.

    Raises PreflightError when the model folder is missing or the memory too small.
    """

    def __init__(self, model_path: Path, config: EngineConfig, lora: LoraConfig | None = None) -> None:
        self._config = config
        self._lora = lora or LoraConfig()
        self._folder = ModelFolder(model_path)
        self._meter = LoadMeter(config.max_num_seqs)
        self._request_ids = itertools.count()
        self._end_token_ids: tuple[int, ...] = ()
        self._llm: Any = None
        self._weights: VllmWeights | VllmAdapters | None = None

    @property
    def policy_version(self) -> int:
        """The version the engine samples from now."""
        return self._weights.policy_version if self._weights else 0

    async def start(self, policy_version: int = 0) -> None:
        """Load the model folder's weights as `policy_version`.

        Raises EngineFault past `start_s` or when vLLM does not come up, PreflightError when memory is
        short, ConfigurationError when vLLM refuses the settings.
        """
        vllm_options.check_memory(self._folder, self._config)
        start = asyncio.to_thread(self._build)
        await within(self._config.start_s, start, "the vLLM engine's start", EngineFault)
        if self._lora.is_on:
            self._weights = VllmAdapters(self._llm, self._folder, self._config)
        else:
            self._weights = VllmWeights(self._llm, self._folder, self._config, self._meter)
        label = self._weights.start(policy_version)
        await within(self._config.update_s, label, "the vLLM engine", EngineFault)

    def _build(self) -> None:
        """Import vLLM and start its process; blocks for seconds."""
        self._end_token_ids = self._folder.end_token_ids()
        with vllm_options.spawning(self._config):
            from vllm import AsyncEngineArgs
            from vllm.v1.engine.async_llm import AsyncLLM

            try:
                arguments = AsyncEngineArgs(**vllm_options.arguments(self._folder, self._config, self._lora))
                self._llm = AsyncLLM.from_engine_args(arguments)
            except ValueError as error:
                raise ConfigurationError(f"engine settings refused by vLLM: {line(error)}") from error
            except (RuntimeError, TimeoutError, OSError) as error:
                raise EngineFault(f"vLLM did not start: {line(error)}") from error

    async def generate(
        self, prompt_tokens: Int32, *, max_tokens: int, sampling: Sampling, seed: int | None = None
    ) -> Generation:
        """Sample one action; EngineFault past `request_s`, when a prompt does not fit, or after `close`."""
        if self._llm is None or self._weights is None:
            raise EngineFault("the vLLM engine is not running")
        started = time.monotonic()
        parameters = self._parameters(max_tokens, sampling, seed)
        with self._meter.request(), self._weights.serving() as served:
            request = self._request(prompt_tokens, parameters, served)
            output = await within(self._config.request_s, request, "a vLLM request", EngineFault)
        if self._weights.fault:
            raise EngineDead(self._weights.fault)
        generation = _generation(output, served.version, time.monotonic() - started)
        if sampling.temperature == 0:
            certain = np.zeros_like(generation.logprobs)  # vLLM tells those of temperature 1
            generation = generation.model_copy(update={"logprobs": certain})
        self._meter.generated(len(generation.tokens))
        return generation

    def _parameters(self, max_tokens: int, sampling: Sampling, seed: int | None) -> Any:
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        return SamplingParams(
            max_tokens=max_tokens,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            top_k=sampling.top_k,
            seed=seed,
            logprobs=0,
            flat_logprobs=True,
            stop_token_ids=list(self._end_token_ids),
            ignore_eos=True,  # what ends an action is `stop_token_ids`, for every engine the same
            detokenize=False,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )

    async def _request(self, prompt_tokens: Int32, parameters: Any, served: Served) -> Any:
        """The finished output of one request; leaving early aborts it inside the engine."""
        from vllm.exceptions import VLLMClientError
        from vllm.v1.engine.exceptions import EngineDeadError, EngineGenerateError

        # Cached prefixes are found by their salt: one per set of weights, so none is read under another.
        prompt = {"prompt_token_ids": prompt_tokens.tolist(), "cache_salt": served.cache_salt}
        try:
            name = str(next(self._request_ids))
            outputs = self._llm.generate(prompt, parameters, name, lora_request=served.adapter)
            final = [output async for output in outputs][-1]
        except EngineDeadError as error:
            raise EngineDead("the vLLM engine process died") from error
        except (VLLMClientError, EngineGenerateError, ValueError) as error:
            raise EngineFault(
                f"vLLM refused a prompt of {len(prompt_tokens)} tokens: {line(error)}"
            ) from error
        return final.outputs[0]

    async def load_weights(self, manifest: WeightManifest, path: Path) -> None:
        """Swap in the safetensors file `path`, whole or not at all; WeightError when it did not happen."""
        if self._llm is None or self._weights is None:
            raise WeightError(f"weights of version {manifest.version}: the vLLM engine is not running")
        await self._weights.load(manifest, path)

    def load(self) -> EngineLoad:
        """Counters since the start."""
        return self._meter.load()

    async def close(self) -> None:
        """Stop vLLM's processes; idempotent."""
        if self._llm is None:
            return
        llm, self._llm = self._llm, None
        if self._weights is not None:
            self._weights.detach()
        await _end_output_handler(llm)
        await asyncio.to_thread(llm.shutdown)


async def _end_output_handler(llm: Any) -> None:
    """Stop listening to the engine process before it ends: vLLM would take that for a crash, and log one."""
    from vllm.v1.engine.exceptions import EngineDeadError

    if llm.output_handler is None:
        return
    llm.output_handler.cancel()
    await asyncio.gather(llm.output_handler, return_exceptions=True)
    llm.output_processor.propagate_error(EngineDeadError())


def _generation(output: Any, version: int | None, duration_s: float) -> Generation:
    """vLLM's output as ours; EngineFault when it was aborted or does not say what sampled its tokens.

    All tokens are of `version`; None: vLLM says which is of which.
    """
    if output.finish_reason not in ("stop", "length"):
        raise EngineFault(f"vLLM ended a request with {output.finish_reason!r}")
    tokens = np.asarray(output.token_ids, np.int32)
    if version is not None:
        versions: tuple[VersionSpan, ...] = (VersionSpan(version=version, num_tokens=len(tokens)),)
    else:
        spans = [span for span in output.weight_versions or () if span.end > span.start]
        versions = tuple(VersionSpan(version=int(s.version), num_tokens=s.end - s.start) for s in spans)
    logprobs = np.asarray(output.logprobs.logprobs, np.float32)
    if not len(tokens) == len(logprobs) == sum(span.num_tokens for span in versions):
        raise EngineFault(
            f"vLLM returned {len(tokens)} tokens, {len(logprobs)} logprobs and versions {versions}"
        )
    return Generation(
        tokens=tokens,
        logprobs=logprobs,
        versions=versions,
        is_stopped=output.finish_reason == "stop",
        duration_s=duration_s,
    )
