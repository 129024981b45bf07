"""A thousand clients, some of which die, and workers that are killed: the hub ends where it began.

`python -m benchmarks.soak --cycles 100000` is the long version.
"""

from benchmarks.parts.hub_process import running_hub
from benchmarks.parts.traffic import MOVES, NUM_TASKS, Mix, cycle
from benchmarks.soak import DEATHS, Numbers, soak

MIX = Mix({"guess_number": 20.0, "textcraft": 40.0, "maze": 40.0}, DEATHS)
SETTINGS = """
environments = ["guess_number", "textcraft", "maze"]
session_ttl_s = 1.0
max_sessions = 256
"""
MIB = 1 << 20


async def test_sessions_memory_files_and_processes_return_after_clients_die_and_workers_are_killed() -> None:
    async with running_hub(SETTINGS) as hub:
        numbers = Numbers(hub, cycles=1000, kills=2, limit_s=120)
        found = await soak(hub, MIX, numbers, at_once=16, warm_s=1.0)
    assert found.mistakes() == []
    assert found.tally.cycles.total() == 1000
    assert found.num_killed == 2
    # Every way to die was there, and nobody but those on a killed worker was refused.
    assert all(found.tally.deaths[how] > 5 for how in DEATHS if how != "none")
    assert found.tally.refusals.total() <= 2 * 16
    assert found.peak.sessions > 0
    assert found.end.hub_bytes - found.begin.hub_bytes < 16 * MIB
    assert found.end.worker_bytes - found.begin.worker_bytes < 24 * MIB


def test_what_a_client_does_follows_from_the_seed_and_its_number() -> None:
    seen = [cycle(MIX, number) for number in range(500)]
    assert seen == [cycle(MIX, number) for number in range(500)]
    assert {one.environment for one in seen} == set(MIX.environments)
    assert {one.door for one in seen} == {"v1", "dialect"}
    assert {one.death for one in seen} == set(DEATHS)
    assert all(0 <= one.index < NUM_TASKS and set(one.moves) <= set(MOVES[one.environment]) for one in seen)
