"""An engine on a Hugging Face model, for machines without a vLLM wheel: simple and right before fast.

Decodes in a thread of this process. New weights go in between two steps; requests in flight continue
over their old keys and values, or recompute them when `clears_cache_on_update` is set.
"""

import asyncio
import itertools
import secrets
import threading
import time
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM
from transformers.utils.logging import disable_progress_bar

from actors.config import EngineConfig
from actors.engine.decode_batch import DecodeBatch, Request
from actors.engine.decode_thread import DecodeThread
from actors.engine.engine import EngineLoad, Generation
from actors.engine.merged_adapter import MergedAdapter
from actors.engine.meter import LoadMeter
from actors.engine.model_folder import ModelFolder
from common.aio import within
from common.arrays import Int32
from common.errors import EngineDead, EngineFault, WeightError
from common.messages import Sampling, WeightManifest
from common.trajectory import VersionSpan

_ONE_MODEL_AT_A_TIME = threading.Lock()
"""transformers changes torch's defaults while it loads: two loading threads get each other's."""


class TransformersEngine:
    """An `Engine` that decodes with `transformers`, on CUDA when there is one.

    Raises PreflightError when the model folder is missing.
    """

    def __init__(self, model_path: Path, config: EngineConfig) -> None:
        self._config = config
        self._folder = ModelFolder(model_path)
        self._meter = LoadMeter(config.max_num_seqs)
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._one_load_at_a_time = asyncio.Lock()
        self._thread: DecodeThread | None = None
        self._model: Any = None

    @property
    def policy_version(self) -> int:
        """The version that labels the next tokens."""
        return self._thread.policy_version if self._thread else 0

    async def start(self, policy_version: int = 0) -> None:
        """Load the model folder's weights as `policy_version`; EngineFault past `start_s`."""
        load = asyncio.to_thread(self._load_model)
        self._model, end_token_ids = await within(
            self._config.start_s, load, "the model's loading", EngineFault
        )
        self._adapter = MergedAdapter(self._model)
        self._batch = DecodeBatch(self._model, end_token_ids)
        self._thread = DecodeThread(self._batch, self._config.max_num_seqs, self._prepare_thread)
        self._thread.policy_version = policy_version
        self._thread.start()

    def _load_model(self) -> tuple[Any, tuple[int, ...]]:
        disable_progress_bar()
        dtype = getattr(torch, self._config.dtype)
        try:
            with _ONE_MODEL_AT_A_TIME:
                model = AutoModelForCausalLM.from_pretrained(self._folder.path, dtype=dtype)
        except (OSError, ValueError, RuntimeError) as error:
            raise EngineFault(
                f"model path {self._folder.path}: {' '.join(str(error).split())[:500]}"
            ) from error
        return model.to(self._device).eval(), self._folder.end_token_ids()

    def _prepare_thread(self) -> None:
        torch.set_num_threads(self._config.num_threads)

    async def generate(
        self, prompt_tokens: Int32, *, max_tokens: int, sampling: Sampling, seed: int | None = None
    ) -> Generation:
        """Sample one action; EngineFault past `request_s`, when the prompt does not fit or after `close`."""
        if self._thread is None:
            raise EngineFault("the transformers engine is not running")
        request = self._request(prompt_tokens, max_tokens, sampling, seed)
        started = time.monotonic()
        with self._meter.request():
            self._thread.submit(request)
            await within(self._config.request_s, _result(request.future), "a request", EngineFault)
        self._meter.generated(len(request.logprobs))
        return Generation(
            tokens=np.asarray(request.context[len(prompt_tokens) :], np.int32),
            logprobs=np.asarray(request.logprobs, np.float32),
            versions=tuple(
                VersionSpan(version=version, num_tokens=len(list(tokens)))
                for version, tokens in itertools.groupby(request.versions)
            ),
            is_stopped=request.is_stopped,
            duration_s=time.monotonic() - started,
        )

    def _request(self, prompt: Int32, max_tokens: int, sampling: Sampling, seed: int | None) -> Request:
        room = self._config.max_model_len - len(prompt)
        if not len(prompt) or room < 1:
            raise EngineFault(
                f"a prompt of {len(prompt)} tokens: at least 1 and less than max_model_len = "
                f"{self._config.max_model_len} are allowed"
            )
        if prompt.min() < 0 or prompt.max() >= self._model.config.vocab_size:
            raise EngineFault(
                f"a prompt holds tokens outside the vocabulary of {self._model.config.vocab_size}"
            )
        # torch's default seed is a constant: actors would sample the members of a group alike.
        chosen = secrets.randbits(63) if seed is None else seed
        generator = torch.Generator(self._device).manual_seed(chosen)
        return Request(prompt.tolist(), min(max_tokens, room), sampling, generator)

    async def load_weights(self, manifest: WeightManifest, path: Path) -> None:
        """Swap in the safetensors file `path`, whole or not at all; WeightError when it did not happen.

        An adapter is merged into the weights that the engine was started with.
        """
        if self._thread is None:
            raise WeightError(f"weights of version {manifest.version}: the engine is not running")
        thread = self._thread
        async with self._one_load_at_a_time:
            await asyncio.to_thread(self._folder.check, manifest, path)
            # Everything that can fail has been read and checked before the model is touched.
            tensors = await asyncio.to_thread(load_file, path)
            with self._meter.pause():
                try:
                    order = thread.between_steps(lambda: self._swap(thread, tensors, manifest))
                except EngineDead:
                    raise
                except EngineFault as error:
                    raise WeightError(f"weights of version {manifest.version}: {error}") from error
                try:
                    await self._carried_out(order)
                except ValueError as error:
                    raise WeightError(f"weights of version {manifest.version}: {error}") from error

    async def _carried_out(self, order: Future[None]) -> None:
        """WeightError when the update has not begun after `update_s`; one that has begun is waited for."""
        try:
            await within(self._config.update_s, _result(order), "the weight update", WeightError)
        except WeightError:
            if order.cancelled():
                raise
            await asyncio.to_thread(order.result)  # too late to take it back: it is being done

    @torch.no_grad()
    def _swap(self, thread: DecodeThread, tensors: dict[str, torch.Tensor], manifest: WeightManifest) -> None:
        """Runs in the decoding thread; ValueError when an adapter does not do what it should."""
        if manifest.adapter is not None:
            self._adapter.apply(manifest.adapter, tensors)
        else:
            parameters = dict(self._model.named_parameters(remove_duplicate=False))
            for name, tensor in tensors.items():
                parameters[name].copy_(tensor)
            self._adapter.forget()
        if self._config.clears_cache_on_update:
            self._batch.forget_cache()
        thread.policy_version = manifest.version

    def load(self) -> EngineLoad:
        """Counters since the start."""
        return self._meter.load()

    async def close(self) -> None:
        """End the decoding thread; idempotent."""
        if self._thread is not None:
            await asyncio.to_thread(self._thread.stop)


async def _result(future: Future[Any]) -> None:
    """Wait for another thread's future; cancelling the wait cancels what has not begun."""
    await asyncio.wrap_future(future)
