"""Weight updates of the transformers engine amid requests in flight, proven by its logprobs."""

import asyncio
from pathlib import Path

import numpy as np
import pytest

from actors.config import EngineConfig
from actors.engine.engine import Generation
from actors.engine.transformers_engine import TransformersEngine
from common.errors import EngineFault
from common.messages import Sampling
from tests.actors.engine import tiny

PROMPT = np.arange(8, 60, dtype=np.int32)


async def across_update(path: Path, *, clears_cache: bool) -> list[tuple[list[int], Generation]]:
    """Prompts and actions of requests that were in flight when seed 1 replaced seed 0 as version 1."""
    config = EngineConfig(
        kind="transformers", max_model_len=512, max_num_seqs=4, clears_cache_on_update=clears_cache
    )
    engine = TransformersEngine(tiny.folder(path / "model"), config)
    await engine.start()

    async def generate(prompt: "np.ndarray", max_tokens: int) -> Generation:
        return await engine.generate(prompt, max_tokens=max_tokens, sampling=Sampling())

    async with asyncio.TaskGroup() as group:
        prompts = [PROMPT[start:] for start in range(3)]
        tasks = [group.create_task(generate(prompt, 400)) for prompt in prompts]
        await generate(PROMPT[5:], 4)  # the fourth place: the others have sampled as many
        file = path / "1.safetensors"
        await engine.load_weights(tiny.publish(file, tiny.model(1), 1), file)
    await engine.close()
    generations = [(prompt.tolist(), task.result()) for prompt, task in zip(prompts, tasks, strict=True)]
    mixed = [(p, g) for p, g in generations if [span.version for span in g.versions] == [0, 1]]
    assert mixed
    return mixed


async def test_requests_in_flight_go_on_over_their_old_keys_and_values(tmp_path: Path) -> None:
    for prompt, generation in await across_update(tmp_path, clears_cache=False):
        action, switch = generation.tokens.tolist(), generation.versions[0].num_tokens
        expected = tiny.logprobs_across_update(tiny.model(0), tiny.model(1), prompt, action, switch)
        np.testing.assert_allclose(generation.logprobs, expected, atol=1e-4, rtol=0)


async def test_with_a_cleared_cache_they_recompute_under_the_new_weights(tmp_path: Path) -> None:
    for prompt, generation in await across_update(tmp_path, clears_cache=True):
        action, switch = generation.tokens.tolist(), generation.versions[0].num_tokens
        for seed, part in ((0, slice(0, switch)), (1, slice(switch, None))):
            expected = tiny.logprobs(tiny.model(seed), prompt, action)
            np.testing.assert_allclose(generation.logprobs[part], expected[part], atol=1e-4, rtol=0)


async def test_closing_faults_the_requests_in_flight(tmp_path: Path) -> None:
    engine = TransformersEngine(tiny.folder(tmp_path / "model"), EngineConfig(max_model_len=512))
    await engine.start()
    request = asyncio.ensure_future(engine.generate(PROMPT, max_tokens=400, sampling=Sampling()))
    await asyncio.sleep(0)
    await engine.close()
    with pytest.raises(EngineFault, match="has stopped"):
        await request


async def test_a_token_outside_the_vocabulary_harms_nobody_else(tmp_path: Path) -> None:
    engine = TransformersEngine(tiny.folder(tmp_path / "model"), EngineConfig(max_model_len=512))
    await engine.start()
    with pytest.raises(EngineFault, match="outside the vocabulary"):
        await engine.generate(np.array([5, 96], np.int32), max_tokens=2, sampling=Sampling())
    assert len((await engine.generate(PROMPT, max_tokens=2, sampling=Sampling())).tokens)
    await engine.close()
