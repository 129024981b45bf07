"""The whole system, broken on purpose: nothing is lost and nothing is trained on twice, to the last bit."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from common.aio import background
from tests.chaos.faults import Disk, Fault, FileLimit, Injector
from tests.chaos.invariants import broken
from tests.chaos.setting import bad_network, small_disk
from tests.chaos.system import System

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

DEADLINE_S = 800.0
STOP_S = 3.0
"""Longer than the actor timeout of `chaos.toml`."""
KINDS = (
    "SIGSTOP actor",
    "kill -9 actor",
    "kill -9 worker",
    "kill -9 hub",
    "cut",
    "kill -9 learner",
)


def after_progress(kind: str) -> Fault:
    return Fault(kind, pause_s=0.05, hold_s=STOP_S, pick=0.0, is_at_once=False)


async def test_kill_9_of_every_kind_of_process_a_bad_network_and_a_full_disk_change_nothing(
    tmp_path: Path,
) -> None:
    undisturbed = System(tmp_path / "undisturbed")
    undisturbed.directory.mkdir()
    with small_disk(tmp_path / "disk") as is_small:
        try:
            async with asyncio.TaskGroup() as both, bad_network(seed=1) as (network, settings):
                both.create_task(undisturbed.finish(DEADLINE_S))
                await undisturbed.has_begun(DEADLINE_S)
                system = System(tmp_path / "disk", settings=settings, actor_ports=network.ports)
                system.begin_like(undisturbed)
                kinds = (*KINDS, "disk full" if is_small else "file limit")
                faults = [after_progress(kind) for kind in KINDS]
                faults.append(replace(after_progress(kinds[-1]), hold_s=1.0))
                injector = Injector(
                    system,
                    iter(faults),
                    network=network,
                    disk=Disk(tmp_path / "disk"),
                    limit=FileLimit(system),
                    patience_s=DEADLINE_S,
                )
                try:
                    async with background(injector.run()):
                        await system.finish(DEADLINE_S)
                finally:
                    system.kill()
            assert undisturbed.deaths == []
            assert injector.counts == dict.fromkeys(kinds, 1), injector.history
            counts = network.weather.counts
            assert all(counts[kind] for kind in ("drop", "duplicate", "corrupt", "delay")), counts
            assert await broken(system, undisturbed) == []
        finally:
            undisturbed.kill()
