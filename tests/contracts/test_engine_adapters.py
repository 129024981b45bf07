"""What every engine promises about adapters; one suite, run against each that takes them."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from actors.config import EngineConfig
from actors.engine.engine import Engine, Generation
from actors.engine.factory import make_engine
from common.errors import WeightError
from common.messages import Sampling
from common.weights.adapter import tensor_name
from tests.actors.engine import adapters, tiny

pytestmark = pytest.mark.asyncio(loop_scope="module")

PROMPT = np.arange(10, 74, dtype=np.int32)
ONE, OTHER, NOTHING = adapters.tensors(1), adapters.tensors(2), adapters.tensors(3, size=0)
LAYER = "model.layers.1.self_attn.q_proj"


@dataclass
class Subject:
    """An engine of the model of seed 0, ready for adapters."""

    engine: Engine
    folder: Path

    async def generate(self, prompt: np.ndarray = PROMPT, max_tokens: int = 12) -> Generation:
        return await self.engine.generate(prompt, max_tokens=max_tokens, sampling=Sampling())

    async def load(self, adapter: dict[str, torch.Tensor], version: int, **options: object) -> None:
        await self.engine.load_weights(*adapters.publish(self.folder, adapter, version, **options))  # type: ignore[arg-type]

    async def serves(self, adapter: dict[str, torch.Tensor], version: int) -> None:
        """Fail unless the next action is of this adapter and of this version."""
        assert self.engine.policy_version == version
        generation = await self.generate()
        assert [span.version for span in generation.versions] == [version]
        expected = tiny.logprobs(adapters.merged(adapter), PROMPT.tolist(), generation.tokens.tolist())
        np.testing.assert_allclose(generation.logprobs, expected, atol=1e-4)


@pytest.fixture(scope="module", params=[pytest.param("vllm", marks=pytest.mark.vllm), "transformers"])
async def subject(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Subject]:
    folder = tmp_path_factory.mktemp(request.param)
    config = EngineConfig(kind=request.param, max_model_len=512, kv_cache_bytes=32 << 20, max_num_seqs=8)
    engine = make_engine(tiny.folder(folder / "model"), config, adapters.LORA)
    await engine.start()
    yield Subject(engine, folder)
    await engine.close()


async def test_before_the_first_adapter_the_base_model_answers(subject: Subject) -> None:
    await subject.serves(NOTHING, 0)


async def test_every_adapter_replaces_the_one_before_and_one_that_does_nothing_is_the_base(
    subject: Subject,
) -> None:
    for version, adapter in enumerate((ONE, OTHER, NOTHING, ONE), start=1):
        await subject.load(adapter, version)
        await subject.serves(adapter, version)


async def test_a_version_that_is_made_anew_is_the_new_one(subject: Subject) -> None:
    """A learner that resumed makes a version again, of other weights; prefixes of the old one are cached."""
    for adapter in (ONE, OTHER, ONE):
        await subject.load(adapter, 7)
        await subject.serves(adapter, 7)


async def test_requests_in_flight_know_which_adapter_sampled_their_tokens(subject: Subject) -> None:
    await subject.load(ONE, 10)
    prompts = [PROMPT[start:] for start in range(4)]
    requests = [asyncio.ensure_future(subject.generate(prompt, 300)) for prompt in prompts]
    await subject.generate(PROMPT[5:], 8)  # by then, the others have sampled several tokens too
    await subject.load(OTHER, 11)
    models = {10: adapters.merged(ONE), 11: adapters.merged(OTHER)}
    for prompt, request in zip(prompts, requests, strict=True):
        generation = await request
        first, context, action = generation.versions[0], prompt.tolist(), generation.tokens.tolist()
        assert first.version == 10
        if len(generation.versions) == 1:
            expected = tiny.logprobs(models[10], context, action)
        else:
            expected = tiny.logprobs_across_update(models[10], models[11], context, action, first.num_tokens)
        np.testing.assert_allclose(generation.logprobs, expected, atol=2e-4, rtol=0)
    await subject.serves(OTHER, 11)


async def test_an_adapter_of_another_base_model_is_refused(subject: Subject) -> None:
    await subject.load(ONE, 20)
    with pytest.raises(WeightError, match="version 21: an adapter of the base model 0123456789abcdef"):
        await subject.load(OTHER, 21, base="0123456789abcdef")
    await subject.serves(ONE, 20)


async def test_an_adapter_that_does_not_do_what_the_learner_says_is_refused(subject: Subject) -> None:
    """As when it is loaded and never applied, or an older one is served under its name."""
    await subject.load(ONE, 30)
    for adapter, promised in ((NOTHING, OTHER), (ONE, OTHER), (OTHER, NOTHING)):
        with pytest.raises(WeightError, match="version 31: the adapter moves"):
            await subject.load(adapter, 31, promised=promised)
        await subject.serves(ONE, 30)


async def test_an_adapter_that_does_not_fit_is_refused_with_the_tensors_name(subject: Subject) -> None:
    await subject.load(ONE, 40)
    for part, spoilt, reason in (
        ("A", torch.zeros(4, 63), r"has shape \(4, 63\), the model's is \(4, 64\)"),
        ("B", torch.zeros(64, 5), r"has shape \(64, 5\), the model's is \(64, 4\)"),
    ):
        name = tensor_name(LAYER, part)  # type: ignore[arg-type]
        with pytest.raises(WeightError, match=f"version 41: {name} {reason}"):
            await subject.load(ONE | {name: spoilt}, 41, promised=ONE)
    without = {name: tensor for name, tensor in ONE.items() if name != tensor_name(LAYER, "B")}
    with pytest.raises(WeightError, match=f"version 41: the adapter of {LAYER} has only its A"):
        await subject.load(without, 41, promised=ONE)
    strange = ONE | {"model.norm.weight": torch.zeros(64)}
    with pytest.raises(WeightError, match=r"version 41: model\.norm\.weight adapts no matrix"):
        await subject.load(strange, 41, promised=ONE)
    await subject.serves(ONE, 40)


async def test_adapters_that_are_loaded_at_once_come_one_after_the_other(subject: Subject) -> None:
    await asyncio.gather(subject.load(ONE, 51), subject.load(OTHER, 52), subject.load(ONE, 53))
    await subject.serves(ONE, 53)
