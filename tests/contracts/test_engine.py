"""What every engine promises; one suite, run against each of them."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from actors.config import EngineConfig
from actors.engine.engine import Engine, Generation
from actors.engine.factory import make_engine
from actors.engine.scripted import ScriptedEngine
from common.errors import EngineFault, WeightError
from common.messages import Sampling
from tests.actors.engine import tiny

pytestmark = pytest.mark.asyncio(loop_scope="module")

PROMPT = np.arange(10, 60, dtype=np.int32)
END = 1


@dataclass
class Subject:
    """An engine under test, with the weights of seed 0 as version 3."""

    engine: Engine
    folder: Path
    is_real: bool

    async def generate(
        self, prompt: np.ndarray = PROMPT, max_tokens: int = 12, *, seed: int | None = None, **options: Any
    ) -> Generation:
        sampling = Sampling(**options)
        return await self.engine.generate(prompt, max_tokens=max_tokens, sampling=sampling, seed=seed)

    async def load(self, seed: int, version: int, *, spoil: bool = False) -> None:
        """Publish the weights of `seed` and load them; spoiled, one tensor is missing."""
        file = self.folder / f"{version}.safetensors"
        tensors = {name: value.detach() for name, value in tiny.model(seed).named_parameters()}
        if spoil:
            tensors.pop("model.norm.weight")
            if isinstance(self.engine, ScriptedEngine):
                self.engine.fail_next_loads(1)
        await self.engine.load_weights(tiny.publish_tensors(file, tensors, version), file)


def words(prompt: np.ndarray) -> list[int]:
    """A scripted reply that depends on the prompt and ends."""
    return [int(prompt[-1]), int(prompt[0]), END]


@pytest.fixture(
    scope="module",
    params=[pytest.param("vllm", marks=pytest.mark.vllm), "transformers", "scripted"],
)
async def subject(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Subject]:
    folder = tmp_path_factory.mktemp(request.param)
    tiny.folder(folder / "model")
    engine: Engine = ScriptedEngine(words, end_token_ids=(END,))
    if request.param != "scripted":
        config = EngineConfig(kind=request.param, max_model_len=256, kv_cache_bytes=16 << 20, max_num_seqs=8)
        engine = make_engine(folder / "model", config)
    await engine.start(policy_version=3)
    yield Subject(engine, folder, request.param != "scripted")
    await engine.close()
    with pytest.raises(EngineFault):
        await engine.generate(PROMPT, max_tokens=1, sampling=Sampling())
    with pytest.raises(WeightError):
        await Subject(engine, folder, True).load(0, 99)
    await engine.close()


async def test_tokens_logprobs_and_versions_agree_in_length(subject: Subject) -> None:
    generation = await subject.generate()
    num = len(generation.tokens)
    assert 1 <= num <= 12
    assert len(generation.logprobs) == num
    assert sum(span.num_tokens for span in generation.versions) == num
    assert (generation.logprobs <= 0).all()
    assert {span.version for span in generation.versions} == {subject.engine.policy_version}


async def test_at_temperature_0_every_action_is_the_same_and_certain(subject: Subject) -> None:
    greedy = [await subject.generate(temperature=0.0, seed=seed) for seed in (1, 2, None)]
    assert len({tuple(generation.tokens.tolist()) for generation in greedy}) == 1
    assert (greedy[0].logprobs == 0).all()
    if subject.is_real:
        await subject.load(0, subject.engine.policy_version)
        tokens = (await subject.generate(temperature=0.0)).tokens.tolist()
        logits = tiny.model(0)(torch.tensor([[*PROMPT.tolist(), *tokens]])).logits[0, len(PROMPT) - 1 : -1]
        lost = logits.max(-1).values - logits.gather(-1, torch.tensor(tokens)[:, None])[:, 0]
        assert lost.max() < 1e-2


async def test_the_end_token_is_kept_and_an_action_without_it_was_cut(subject: Subject) -> None:
    generations = [await subject.generate(PROMPT[:n], max_tokens=4, seed=n) for n in range(5, 45)]
    for generation in generations:
        assert generation.is_stopped == (generation.tokens[-1] == END)
        assert END not in generation.tokens[:-1]
        assert generation.is_stopped or len(generation.tokens) == 4
    assert any(generation.is_stopped for generation in generations)


async def test_an_action_of_one_token_is_possible(subject: Subject) -> None:
    generation = await subject.generate(max_tokens=1)
    assert len(generation.tokens) == 1


async def test_an_action_is_cut_at_the_length_of_the_model(subject: Subject) -> None:
    if not subject.is_real:
        pytest.skip("a script has no length")
    generation = await subject.generate(np.full(254, 20, np.int32), max_tokens=64, seed=0)
    assert len(generation.tokens) <= 2
    for length in (256, 300):
        with pytest.raises(EngineFault):
            await subject.generate(np.full(length, 20, np.int32))


async def test_the_same_seed_samples_the_same_action(subject: Subject) -> None:
    first, second = [await subject.generate(seed=5) for _ in range(2)]
    assert first.tokens.tolist() == second.tokens.tolist()


async def test_requests_without_a_seed_differ(subject: Subject) -> None:
    if not subject.is_real:
        pytest.skip("a script answers as it is told")
    generations = await asyncio.gather(*(subject.generate() for _ in range(6)))
    assert len({tuple(generation.tokens.tolist()) for generation in generations}) > 1


@pytest.mark.parametrize("temperature", [1.0, 0.6])
async def test_logprobs_are_those_of_the_model_at_the_sampling_temperature(
    subject: Subject, temperature: float
) -> None:
    if not subject.is_real:
        pytest.skip("a script has no model")
    await subject.load(0, 3)
    model = tiny.model(0)
    prompts = [PROMPT[:length] for length in range(2, 40, 2)]  # more than max_num_seqs, of many lengths
    generations = await asyncio.gather(*(subject.generate(p, temperature=temperature) for p in prompts))
    for prompt, generation in zip(prompts, generations, strict=True):
        expected = tiny.logprobs(model, prompt.tolist(), generation.tokens.tolist(), temperature)
        np.testing.assert_allclose(generation.logprobs, expected, atol=1e-4)


async def test_with_one_allowed_token_the_choice_is_certain(subject: Subject) -> None:
    if not subject.is_real:
        pytest.skip("a script does not choose")
    for options in ({"top_k": 1}, {"top_p": 1e-6}):
        first, second = [await subject.generate(**options) for _ in range(2)]
        assert first.tokens.tolist() == second.tokens.tolist()
        np.testing.assert_allclose(first.logprobs, 0, atol=1e-6)


async def test_loaded_weights_advance_the_version_and_are_sampled_from(subject: Subject) -> None:
    await subject.load(1, 8)
    assert subject.engine.policy_version == 8
    generation = await subject.generate()
    assert [span.version for span in generation.versions] == [8]
    if subject.is_real:
        expected = tiny.logprobs(tiny.model(1), PROMPT.tolist(), generation.tokens.tolist())
        np.testing.assert_allclose(generation.logprobs, expected, atol=1e-4)


async def test_refused_weights_leave_version_and_weights_as_they_were(subject: Subject) -> None:
    await subject.load(1, 8)
    with pytest.raises(WeightError):
        await subject.load(2, 9, spoil=True)
    assert subject.engine.policy_version == 8
    generation = await subject.generate()
    assert [span.version for span in generation.versions] == [8]
    if subject.is_real:
        expected = tiny.logprobs(tiny.model(1), PROMPT.tolist(), generation.tokens.tolist())
        np.testing.assert_allclose(generation.logprobs, expected, atol=1e-4)


async def test_a_cancelled_request_leaves_the_engine(subject: Subject) -> None:
    if isinstance(subject.engine, ScriptedEngine):
        subject.engine.hold()
    waiting = asyncio.ensure_future(subject.generate(max_tokens=200))
    await asyncio.sleep(0)  # the task begins
    assert subject.engine.load().num_running == 1
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert subject.engine.load().num_running == 0
    if isinstance(subject.engine, ScriptedEngine):
        subject.engine.resume()
    assert len((await subject.generate()).tokens)


async def test_a_request_past_its_deadline_is_faulted(tmp_path: Path) -> None:
    config = EngineConfig(kind="transformers", max_model_len=256, request_s=0.001)
    engine = make_engine(tiny.folder(tmp_path / "model"), config)
    await engine.start()
    with pytest.raises(EngineFault, match=r"within 0\.001 s"):
        await engine.generate(PROMPT, max_tokens=200, sampling=Sampling())
    await engine.close()


async def test_load_counts_tokens_and_seconds(subject: Subject) -> None:
    before = subject.engine.load()
    generation = await subject.generate()
    after = subject.engine.load()
    assert after.generated_tokens == before.generated_tokens + len(generation.tokens)
    assert after.generation_s >= before.generation_s
    assert (after.num_running, after.num_waiting) == (0, 0)
