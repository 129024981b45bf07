"""Weight updates of a real vLLM engine, proven by the numbers it samples with."""

import asyncio
from collections.abc import AsyncIterator

import numpy as np
import pytest

from common.errors import WeightError
from tests.actors.engine import tiny
from tests.actors.engine.live import PROMPT, Live

pytestmark = [pytest.mark.vllm, pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

TOLERANCE = 1e-5


@pytest.fixture(scope="module", params=["tied", "untied"])
async def live(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Live]:
    folder = tmp_path_factory.mktemp(request.param)
    live = await Live(folder, is_tied=request.param == "tied").start()
    yield live
    await live.engine.close()


async def test_updated_weights_answer_as_a_fresh_engine_with_them(live: Live) -> None:
    fresh = await Live(live.folder / "fresh", is_tied=live.is_tied, seed=1).start()
    expected = [await fresh.generate(seed=seed) for seed in range(3)]
    await fresh.engine.close()
    await live.load(1, 1)
    for seed, reference in enumerate(expected):
        generation = await live.generate(seed=seed)
        assert generation.tokens.tolist() == reference.tokens.tolist()
        np.testing.assert_allclose(generation.logprobs, reference.logprobs, atol=TOLERANCE, rtol=0)
        assert live.error(generation, 1) < TOLERANCE


async def test_weights_go_there_and_back_again(live: Live) -> None:
    for version, seed in enumerate([0, 1, 0, 2, 0], start=1):
        await live.load(seed, version, with_head=live.is_tied and seed == 1)
        generation = await live.generate()
        assert live.error(generation, seed) < TOLERANCE
        assert live.error(generation, seed + 1) > 0.1
        assert [span.version for span in generation.versions] == [version]


async def test_a_prefix_cached_under_old_weights_is_never_read_under_new_ones(live: Live) -> None:
    await live.load(0, 1)
    await live.generate()
    await live.generate()
    for version, seed in ((2, 1), (3, 0), (3, 1)):  # a learner that resumed makes a version anew
        await live.load(seed, version)
        assert live.error(await live.generate(), seed) < TOLERANCE


async def test_requests_in_flight_go_on_across_an_update_and_know_who_sampled_what(live: Live) -> None:
    await live.load(0, 4)
    requests = live.begin(8)
    await live.generate(8, start=10)  # by then, the others have sampled several tokens too
    await live.load(1, 5)
    generations = [await request for request in requests]
    before, after = live.model(0), live.model(1)
    mixed = [(i, g) for i, g in enumerate(generations) if [s.version for s in g.versions] == [4, 5]]
    assert mixed
    for index, generation in mixed:
        prompt, action = PROMPT[index:].tolist(), generation.tokens.tolist()
        switch = generation.versions[0].num_tokens
        expected = tiny.logprobs_across_update(before, after, prompt, action, switch)
        np.testing.assert_allclose(generation.logprobs, expected, atol=1e-4, rtol=0)


async def test_concurrent_updates_are_applied_one_after_the_other(live: Live) -> None:
    await asyncio.gather(live.load(1, 11), live.load(2, 12), live.load(0, 13))
    assert live.engine.policy_version == 13
    assert live.error(await live.generate(), 0) < TOLERANCE


async def test_a_cancelled_update_never_leaves_the_engine_paused_or_between_two_versions(live: Live) -> None:
    seeds = {20: 0}
    await live.load(0, 20)
    for version in range(21, 33):
        seeds[version] = version % 3
        update = asyncio.ensure_future(live.load(seeds[version], version))
        await asyncio.wait({update}, timeout=0.004 * (version - 21))
        update.cancel()
        await asyncio.wait({update})
        generation = await live.generate(8)
        assert [span.version for span in generation.versions] == [live.engine.policy_version]
        assert live.error(generation, seeds[live.engine.policy_version]) < TOLERANCE


async def test_requests_cancelled_during_an_update_leave_nothing_behind(live: Live) -> None:
    requests = live.begin(8)
    await live.generate(4)
    update = asyncio.ensure_future(live.load(2, 40))
    await asyncio.wait({update}, timeout=0.01)
    for request in requests:
        request.cancel()
    await asyncio.wait(requests)
    await update
    assert live.engine.load().num_running == 0
    assert live.error(await live.generate(), 2) < TOLERANCE


async def test_weights_that_fail_midway_are_taken_back_even_when_the_old_file_is_gone(live: Live) -> None:
    await live.load(1, 50)
    (live.folder / "50.safetensors").unlink()
    tensors = {name: value.detach() for name, value in live.model(2).named_parameters()}
    tensors["model.layers.1.mlp.down_proj.weight"] = tensors["model.layers.1.mlp.down_proj.weight"][:, :-1]
    file = live.folder / "51.safetensors"
    manifest = tiny.publish_tensors(file, tensors, 51)
    requests = live.begin(4)
    assert live.engine._weights is not None
    folder = live.engine._weights._folder
    live.engine._weights._folder = TrustingFolder()  # type: ignore[assignment]
    try:
        with pytest.raises(WeightError, match="version 51: not applied"):
            await live.engine.load_weights(manifest, file)
    finally:
        live.engine._weights._folder = folder
    assert live.engine.policy_version == 50
    for index, request in enumerate(requests):
        assert live.error(await request, 1, start=index) < 1e-4
    assert live.error(await live.generate(), 1) < TOLERANCE
    await live.load(2, 52)
    assert live.error(await live.generate(), 2) < TOLERANCE


class TrustingFolder:
    """Checks nothing, so that the engine itself meets what is wrong."""

    def check(self, manifest: object, file: object) -> None:
        pass
