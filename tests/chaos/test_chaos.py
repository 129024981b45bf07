"""The whole system, broken on purpose: nothing is lost and nothing is trained on twice, to the last bit."""

from dataclasses import replace
from pathlib import Path

import pytest

from common.aio import background
from tests.chaos.faults import Fault, Injector
from tests.chaos.invariants import broken
from tests.chaos.setting import bad_network
from tests.chaos.system import System

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

DEADLINE_S = 800.0
STOP_S = 3.0
"""Longer than the actor timeout of `chaos.toml`."""
WRITE_S = 6.0
"""In so long an actor writes a trajectory, or tries to."""
FAULT = Fault("", pause_s=0.05, hold_s=1.0, pick=0.0, is_at_once=False)
FAULTS = (
    replace(FAULT, kind="SIGSTOP actor", hold_s=STOP_S),
    replace(FAULT, kind="kill -9 actor"),
    replace(FAULT, kind="file limit actor", hold_s=WRITE_S),
    replace(FAULT, kind="kill -9 worker"),
    replace(FAULT, kind="kill -9 hub"),
    replace(FAULT, kind="cut"),
    # Later than the first checkpoint of `chaos.toml`, and the launcher's while it looks after the learner's.
    replace(FAULT, kind="kill -9 learner", step=3),
    replace(FAULT, kind="kill -9 launcher", is_at_once=True),
)


async def test_kill_9_of_every_kind_of_process_a_bad_network_and_a_full_disk_change_nothing(
    tmp_path: Path,
) -> None:
    undisturbed = System(tmp_path / "undisturbed", command="local")
    undisturbed.directory.mkdir()
    await undisturbed.finish(DEADLINE_S, again=False)
    async with bad_network(seed=1) as (network, settings):
        system = System(tmp_path / "disturbed", settings=settings, actor_ports=network.ports)
        system.begin_like(undisturbed)
        injector = Injector(system, iter(FAULTS), network=network, patience_s=DEADLINE_S)
        try:
            async with background(injector.run()):
                await system.finish(DEADLINE_S)
            assert await broken(system, undisturbed) == []
        finally:
            system.kill()
    assert injector.counts == {fault.kind: 1 for fault in FAULTS}, injector.history
    counts = network.weather.counts
    assert all(counts[kind] for kind in ("drop", "duplicate", "corrupt", "delay")), counts
    logs = {file.stem: file.read_text() for file in system.folder.logs.iterdir()}
    assert "the outbox is written again" in logs["actor-0"] + logs["actor-1"]
    assert "resumed checkpoint=" in logs["learner"]
