"""The whole system, broken on purpose: nothing is lost and nothing is trained on twice, to the last bit."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from common.aio import background
from tests.chaos.faults import KILLS, Disk, Fault, Injector
from tests.chaos.invariants import broken
from tests.chaos.setting import bad_network, small_disk
from tests.chaos.system import System

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

DEADLINE_S = 400.0
STOP_S = 3.0
"""Longer than the actor timeout of `chaos.toml`."""


@pytest.fixture(scope="module")
async def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[System]:
    system = System(tmp_path_factory.mktemp("undisturbed"))
    try:
        await system.finish(DEADLINE_S)
        assert system.deaths == []
        yield system
    finally:
        system.kill()


def after_progress(kind: str) -> Fault:
    return Fault(kind, pause_s=0.05, hold_s=STOP_S, pick=0.0, is_at_once=False)


async def test_kill_9_of_every_kind_of_process_and_a_silent_actor_change_nothing(
    undisturbed: System, tmp_path: Path
) -> None:
    system = System(tmp_path)
    system.begin_like(undisturbed)
    kinds = (*[kind for kind in KILLS if kind != "kill -9 launcher"], "SIGSTOP actor")
    injector = Injector(system, iter([after_progress(kind) for kind in kinds]))
    try:
        async with background(injector.run()):
            await system.finish(DEADLINE_S)
        assert injector.counts == dict.fromkeys(kinds, 1), injector.history
        assert await broken(system, undisturbed) == []
    finally:
        system.kill()


async def test_messages_lost_repeated_torn_and_late_and_a_full_disk_change_nothing(
    undisturbed: System, tmp_path: Path
) -> None:
    with small_disk(tmp_path / "disk") as is_small:
        async with bad_network(seed=1) as (network, settings):
            system = System(tmp_path / "disk", settings=settings, actor_ports=network.ports)
            system.begin_like(undisturbed)
            kinds = ("cut", "disk full") if is_small else ("cut",)
            faults = [replace(after_progress(kind), hold_s=1.0) for kind in kinds]
            injector = Injector(system, iter(faults), network=network, disk=Disk(tmp_path / "disk"))
            try:
                async with background(injector.run()):
                    await system.finish(DEADLINE_S)
                counts = network.weather.counts
                assert all(counts[kind] for kind in ("drop", "duplicate", "corrupt", "delay")), counts
                assert injector.counts == dict.fromkeys(kinds, 1), injector.history
                assert await broken(system, undisturbed) == []
            finally:
                system.kill()
