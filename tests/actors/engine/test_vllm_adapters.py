"""Adapters of a real vLLM engine: names, requests in flight, and what is left behind."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from actors.config import EngineConfig
from actors.engine.engine import Generation
from actors.engine.vllm_adapters import VllmAdapters
from actors.engine.vllm_engine import VllmEngine
from actors.engine.vllm_options import MAX_ADAPTERS
from common.errors import WeightError
from common.messages import Sampling
from tests.actors.engine import adapters, tiny

pytestmark = [pytest.mark.vllm, pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

PROMPT = np.arange(10, 74, dtype=np.int32)


@dataclass
class Live:
    """An engine with the model of seed 0 and room for adapters."""

    engine: VllmEngine
    folder: Path

    @property
    def weights(self) -> VllmAdapters:
        assert isinstance(self.engine._weights, VllmAdapters)
        return self.engine._weights

    async def loaded(self) -> set[int]:
        """The adapters that vLLM holds."""
        return set(await self.engine._llm.list_loras())

    async def load(self, seed: int, version: int) -> None:
        await self.engine.load_weights(*adapters.publish(self.folder, adapters.tensors(seed), version))

    def begin(self, start: int, max_tokens: int = 300) -> "asyncio.Task[Generation]":
        return asyncio.ensure_future(
            self.engine.generate(PROMPT[start:], max_tokens=max_tokens, sampling=Sampling())
        )

    def error(self, generation: Generation, seed: int, start: int = 0) -> float:
        """The largest difference to the logprobs of the merged model, nats."""
        model = adapters.merged(adapters.tensors(seed))
        expected = tiny.logprobs(model, PROMPT[start:].tolist(), generation.tokens.tolist())
        return float(np.abs(generation.logprobs - np.asarray(expected)).max())


@pytest.fixture(scope="module")
async def live(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Live]:
    folder = tmp_path_factory.mktemp("adapters")
    config = EngineConfig(max_model_len=512, kv_cache_bytes=32 << 20, max_num_seqs=16)
    live = Live(VllmEngine(tiny.folder(folder / "model"), config, adapters.LORA), folder)
    await live.engine.start()
    files = live.weights._files
    yield live
    await live.engine.close()
    assert not files.exists()


async def test_no_name_and_no_number_is_ever_used_again(live: Live) -> None:
    seen = []
    for version in (1, 2, 1, 1):
        await live.load(1, version)
        adapter = live.weights._newest.served.adapter
        seen.append((adapter.lora_name, adapter.lora_int_id))
    assert len({name for name, _ in seen}) == len({number for _, number in seen}) == 4
    assert [name.split("-load-")[0] for name, _ in seen] == [f"version-{v}" for v in (1, 2, 1, 1)]


async def test_a_request_ends_with_the_adapter_it_began_with_and_then_the_adapter_goes(live: Live) -> None:
    await live.load(1, 10)
    old = live.weights._newest.served.adapter.lora_int_id
    requests = [live.begin(start) for start in range(6)]
    await live.begin(10, 8)
    await live.load(2, 11)
    assert not all(request.done() for request in requests)
    assert await live.loaded() >= {old, live.weights._newest.served.adapter.lora_int_id}
    for start, request in enumerate(requests):
        generation = await request
        assert [span.version for span in generation.versions] == [10]
        assert live.error(generation, 1, start) < 1e-4
    await live.load(1, 12)
    assert await live.loaded() == {live.weights._newest.served.adapter.lora_int_id}
    assert [path.name for path in live.weights._files.iterdir()] == [live.weights._newest.served.cache_salt]


async def test_more_adapters_than_there_is_room_for_are_answered_one_after_the_other(live: Live) -> None:
    requests = []
    for number in range(MAX_ADAPTERS + 2):
        await live.load(number, 20 + number)
        requests.append(live.begin(number, 40))
        await asyncio.sleep(0)
    for number, request in enumerate(requests):
        generation = await request
        assert {span.version for span in generation.versions} == {20 + number}
        assert live.error(generation, number, number) < 1e-4


async def test_a_prefix_cached_under_one_adapter_is_never_read_under_another(live: Live) -> None:
    for version, seed in ((30, 1), (31, 2), (31, 1), (32, 2)):
        await live.load(seed, version)
        for _ in range(2):
            assert live.error(await live.begin(0, 4), seed) < 1e-4


async def test_a_cancelled_load_leaves_one_whole_adapter_in_use(live: Live) -> None:
    seeds = {40: 1}
    await live.load(1, 40)
    for version in range(41, 49):
        seeds[version] = 1 + version % 2
        load = asyncio.ensure_future(live.load(seeds[version], version))
        await asyncio.wait({load}, timeout=0.01 * (version - 40))
        load.cancel()
        await asyncio.wait({load})
        generation = await live.begin(0, 6)
        assert [span.version for span in generation.versions] == [live.engine.policy_version]
        assert live.error(generation, seeds[live.engine.policy_version]) < 1e-4
    await live.load(1, 60)
    assert await live.loaded() == {live.weights._newest.served.adapter.lora_int_id}


async def test_whole_models_are_refused_by_an_engine_that_serves_adapters(live: Live) -> None:
    await live.load(1, 70)
    file = live.folder / "71.safetensors"
    with pytest.raises(WeightError, match="version 71: a whole model, and this engine serves adapters"):
        await live.engine.load_weights(tiny.publish(file, tiny.model(1), 71), file)
    assert live.engine.policy_version == 70


async def test_what_vllm_itself_refuses_leaves_the_old_adapter(live: Live) -> None:
    await live.load(1, 80)
    name = "base_model.model.model.layers.0.strange.lora_{}.weight"
    strange = {name.format("A"): torch.zeros(4, 64), name.format("B"): torch.zeros(64, 4)}
    manifest, file = adapters.publish(live.folder, strange, 81, promised=adapters.tensors(1))
    folder = live.weights._folder
    live.weights._folder = TrustingFolder(folder.path)  # type: ignore[assignment]
    try:
        with pytest.raises(WeightError, match="version 81: not applied"):
            await live.engine.load_weights(manifest, file)
    finally:
        live.weights._folder = folder
    assert live.error(await live.begin(0, 6), 1) < 1e-4
    assert live.engine.policy_version == 80


@dataclass
class TrustingFolder:
    """Checks nothing, so that the engine itself meets what is wrong."""

    path: Path

    def check(self, manifest: object, file: object) -> None:
        pass
