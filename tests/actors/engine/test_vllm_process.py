"""The process behind a vLLM engine: how it is started, how its death is noticed, what it forgets."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator

import psutil
import pytest

from common.errors import ConfigurationError, EngineFault, PronghornError
from tests.actors.engine.live import Live

pytestmark = [pytest.mark.vllm, pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]


@pytest.fixture(scope="module")
async def live(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Live, list[psutil.Process]]]:
    """An engine that clears its cache on updates, and the processes that it started."""
    before = set(psutil.Process().children(recursive=True))
    core = min(os.sched_getaffinity(0))
    cores = os.sched_getaffinity(0)
    live = await Live(tmp_path_factory.mktemp("process"), clears_cache=True, cpu_cores=(core,)).start()
    assert "TORCHDYNAMO_DISABLE" not in os.environ
    assert os.sched_getaffinity(0) == cores
    yield live, [child for child in psutil.Process().children(recursive=True) if child not in before]
    await live.engine.close()


async def test_the_engine_runs_on_its_cores_alone(live: tuple[Live, list[psutil.Process]]) -> None:
    core = min(os.sched_getaffinity(0))
    engines = [process for process in live[1] if "EngineCore" in process.name()]
    assert engines
    assert all(process.cpu_affinity() == [core] for process in engines)


async def test_with_a_cleared_cache_requests_in_flight_recompute_under_the_new_weights(
    live: tuple[Live, list[psutil.Process]],
) -> None:
    subject = live[0]
    requests = subject.begin(8)
    await subject.generate(8, start=10)
    await subject.load(1, 1)
    generations = [await request for request in requests]
    mixed = [(i, g) for i, g in enumerate(generations) if [s.version for s in g.versions] == [0, 1]]
    assert mixed
    for index, generation in mixed:
        switch = generation.versions[0].num_tokens
        for seed, part in ((0, slice(0, switch)), (1, slice(switch, None))):
            assert subject.errors(generation, seed, start=index)[part].max() < 1e-4


async def test_settings_that_vllm_refuses_are_the_users_mistake(
    live: tuple[Live, list[psutil.Process]],
) -> None:
    engine = live[0].with_length(100_000)
    with pytest.raises(ConfigurationError, match="refused by vLLM"):
        await engine.start()


async def test_a_killed_engine_process_faults_requests_now_and_later(
    live: tuple[Live, list[psutil.Process]],
) -> None:
    subject, processes = live
    requests = subject.begin(3)
    await subject.generate(2)
    for process in processes:
        if "EngineCore" in process.name():
            process.send_signal(signal.SIGKILL)
    for request in requests:
        with pytest.raises(EngineFault, match="died"):
            await request
    with pytest.raises(EngineFault, match="died"):
        await subject.generate()
    with pytest.raises(PronghornError):
        await subject.load(0, 2)
    assert subject.engine.policy_version == 1
    async with asyncio.timeout(30):
        await subject.engine.close()
