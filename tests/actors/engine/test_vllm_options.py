"""Under which environment and on which cores vLLM's processes are started."""

import os

import pytest

from actors.config import EngineConfig
from actors.engine.vllm_options import environment, spawning


def test_an_engine_stays_on_its_actors_share_of_the_cores() -> None:
    cores = os.sched_getaffinity(0)
    if len(cores) < 2:
        pytest.skip("this machine has one core")
    share = {max(cores)}
    os.sched_setaffinity(0, share)
    try:
        with spawning(EngineConfig(cpu_cores=tuple(cores))):
            assert os.sched_getaffinity(0) == share
        assert os.sched_getaffinity(0) == share
    finally:
        os.sched_setaffinity(0, cores)


def test_an_engine_without_an_actors_share_runs_on_its_own_cores_until_the_body_ends() -> None:
    cores = os.sched_getaffinity(0)
    core = min(cores)
    with spawning(EngineConfig(cpu_cores=(core,))):
        assert os.sched_getaffinity(0) == {core}
    assert os.sched_getaffinity(0) == cores


@pytest.mark.parametrize("has_gpu", [False, True])
def test_vllm_never_forks_a_process_that_may_have_spoken_to_cuda(
    monkeypatch: pytest.MonkeyPatch, has_gpu: bool
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: has_gpu)
    assert environment(EngineConfig())["VLLM_WORKER_MULTIPROC_METHOD"] == "spawn"


def test_what_the_user_has_set_stays_and_what_is_ours_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_LOGGING_LEVEL", "DEBUG")
    monkeypatch.delenv("VLLM_WORKER_MULTIPROC_METHOD", raising=False)
    with spawning(EngineConfig()):
        assert os.environ["VLLM_LOGGING_LEVEL"] == "DEBUG"
        assert os.environ["VLLM_WORKER_MULTIPROC_METHOD"] == "spawn"
    assert os.environ["VLLM_LOGGING_LEVEL"] == "DEBUG"
    assert "VLLM_WORKER_MULTIPROC_METHOD" not in os.environ
