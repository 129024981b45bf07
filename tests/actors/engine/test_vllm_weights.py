"""What an engine that breaks during an update leads to; a real one is in `test_vllm_updates`."""

from pathlib import Path
from typing import Any

import pytest

from actors.config import EngineConfig
from actors.engine.meter import LoadMeter
from actors.engine.vllm_weights import VllmWeights
from common.errors import EngineDead, WeightError
from tests.contracts.nets import manifest_of


class BreakingLlm:
    """vLLM as far as an update needs it; the calls named in `broken` fail as those of a worker do."""

    def __init__(self, *broken: str) -> None:
        self._broken = broken
        self.calls: list[str] = []

    async def _call(self, name: str) -> None:
        self.calls.append(name)
        if name in self._broken:
            raise Exception(f"{name} failed\nin the worker")

    async def pause_generation(self, **_: Any) -> None:
        await self._call("pause")

    async def resume_generation(self) -> None:
        await self._call("resume")

    async def update_weight_version(self, version: str) -> None:
        await self._call(f"label {version}")

    async def collective_rpc(self, method: str, args: tuple[Any, ...]) -> None:
        await self._call(f"{method} {args[0]}")


class TrustingFolder:
    """Checks nothing."""

    def check(self, manifest: object, file: object) -> None:
        pass


def weights(llm: BreakingLlm) -> VllmWeights:
    return VllmWeights(llm, TrustingFolder(), EngineConfig(), LoadMeter(1))  # type: ignore[arg-type]


async def test_what_fails_in_the_worker_is_taken_back_and_told_in_one_line() -> None:
    llm = BreakingLlm("apply_weights 1")
    serving = weights(llm)
    with pytest.raises(WeightError, match="version 7: not applied: apply_weights 1 failed in the worker"):
        await serving.load(manifest_of(7, 4), Path("7"))
    assert llm.calls[-3:] == ["apply_weights 0", "label 0", "resume"]
    assert (serving.policy_version, serving.fault) == (0, "")


async def test_an_engine_that_cannot_go_back_is_dead() -> None:
    serving = weights(llm := BreakingLlm("apply_weights 1", "apply_weights 0"))
    with pytest.raises(EngineDead, match="the weights of version 0 could not be restored: apply_weights 0"):
        await serving.load(manifest_of(7, 4), Path("7"))
    assert llm.calls[-1] == "resume"
    assert serving.fault == "the weights of version 0 could not be restored"


async def test_an_engine_that_does_not_resume_is_dead() -> None:
    serving = weights(BreakingLlm("resume"))
    with pytest.raises(EngineDead, match="the vLLM engine did not resume: resume failed in the worker"):
        await serving.load(manifest_of(7, 4), Path("7"))
    assert serving.fault
