"""A real vLLM engine under test, and the Hugging Face models that say what it must answer."""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from actors.config import EngineConfig
from actors.engine.engine import Generation
from actors.engine.vllm_engine import VllmEngine
from common.messages import Sampling, WeightManifest
from tests.actors.engine import tiny

PROMPT = np.arange(8, 88, dtype=np.int32)
"""Long enough for two full blocks of the prefix cache."""


@dataclass
class Live:
    """An engine started with the weights of `seed` as version 0."""

    folder: Path
    is_tied: bool = True
    seed: int = 0
    clears_cache: bool = False
    cpu_cores: tuple[int, ...] = ()
    engine: VllmEngine = field(init=False)

    async def start(self) -> "Live":
        model = tiny.folder(self.folder / "model", self.seed, is_tied=self.is_tied)
        config = EngineConfig(
            max_model_len=512,
            kv_cache_bytes=32 << 20,
            max_num_seqs=16,
            clears_cache_on_update=self.clears_cache,
            cpu_cores=self.cpu_cores,
        )
        self.engine = VllmEngine(model, config)
        await self.engine.start()
        return self

    def publish(self, seed: int, version: int, *, with_head: bool = False) -> tuple[WeightManifest, Path]:
        """The weights of `seed` as a learner would announce them; a tied head may be listed or not."""
        tensors = {name: value.detach() for name, value in self.model(seed).named_parameters()}
        if with_head:
            tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].clone()
        file = self.folder / f"{version}.safetensors"
        return tiny.publish_tensors(file, tensors, version), file

    async def load(self, seed: int, version: int, *, with_head: bool = False) -> None:
        await self.engine.load_weights(*self.publish(seed, version, with_head=with_head))

    async def generate(self, max_tokens: int = 32, seed: int | None = None, start: int = 0) -> Generation:
        sampling = Sampling()
        return await self.engine.generate(PROMPT[start:], max_tokens=max_tokens, sampling=sampling, seed=seed)

    def begin(self, num: int, max_tokens: int = 400) -> list["asyncio.Task[Generation]"]:
        """Long requests with different prompts, in flight."""
        return [asyncio.ensure_future(self.generate(max_tokens, start=i)) for i in range(num)]

    def model(self, seed: int) -> tiny.LlamaForCausalLM:
        return tiny.model(seed, is_tied=self.is_tied)

    def errors(self, generation: Generation, seed: int, start: int = 0) -> NDArray[np.float64]:
        """By token, the difference to the logprobs of the model of `seed`, nats."""
        prompt, action = PROMPT[start:].tolist(), generation.tokens.tolist()
        return np.abs(generation.logprobs - np.asarray(tiny.logprobs(self.model(seed), prompt, action)))

    def error(self, generation: Generation, seed: int, start: int = 0) -> float:
        """The largest of them."""
        return float(self.errors(generation, seed, start).max())

    def with_length(self, max_model_len: int) -> VllmEngine:
        """Another engine for the same folder, not started."""
        return VllmEngine(self.folder / "model", EngineConfig(max_model_len=max_model_len))
