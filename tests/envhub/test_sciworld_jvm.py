"""The JVM of SciWorld: worlds in it are each as if alone, and it leaves nothing behind."""

import hashlib
import itertools
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from envhub.envs.sciworld.environment import SciWorld
from envhub.envs.sciworld.episode import SciWorldEpisode
from envhub.envs.sciworld.jvm import SimulatorError, shared_jvm

# Bees, which fly at random, leave their hive; things are created, numbered and named.
BEES = ["open door to greenhouse", "go to greenhouse", "open bee hive", *["wait1", "look around"] * 8]
PLAYED = {
    "lifespan-longest-lived-var1": ["open door to kitchen", *BEES],
    "find-plant-var2": ["go to hallway", "open door to hallway", "go to hallway", *BEES],
    "grow-plant-var0": BEES,
}


@pytest.fixture(scope="module")
def sciworld() -> SciWorld:
    return SciWorld()


def shown(episode: SciWorldEpisode, actions: list[str]) -> Iterator[str]:
    yield episode.observation
    for action in actions:
        yield episode.step(action).observation
    episode.close()


def alone(name: str) -> list[str]:
    return list(shown(SciWorld().reset(name, 0), PLAYED[name]))


def digest() -> str:
    """Called in another process too."""
    return hashlib.sha256("\n".join(line for name in PLAYED for line in alone(name)).encode()).hexdigest()


def python(code: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.PIPE,
        text=True,
    )


def test_worlds_played_in_turns_are_each_as_if_alone() -> None:
    together = {name: shown(SciWorld().reset(name, 0), actions) for name, actions in PLAYED.items()}
    rounds = list(itertools.zip_longest(*together.values()))
    for name, column in zip(together, zip(*rounds, strict=True), strict=True):
        assert [line for line in column if line is not None] == alone(name)


def test_worlds_played_by_threads_are_each_as_if_alone() -> None:
    expected = {name: alone(name) for name in PLAYED}
    found: dict[str, list[str]] = {}
    threads = [threading.Thread(target=lambda n=name: found.update({n: alone(n)})) for name in PLAYED]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == expected


def test_worlds_look_the_same_in_another_process_which_ends_without_a_word() -> None:
    code = "from tests.envhub.test_sciworld_jvm import digest; print(digest())"
    other = python(code, PYTHONHASHSEED="4711", JAVA_TOOL_OPTIONS="-Dnothing=at.all")
    assert other.communicate() == (f"{digest()}\n", "")


def test_closed_worlds_leave_no_memory_behind(sciworld: SciWorld) -> None:
    def play(times: int) -> float:
        for number in range(times):
            episode = sciworld.reset(f"boil-var{number % 14}", 0)
            episode.step("inventory")
            episode.close()
        return shared_jvm().heap_mb()

    before = play(5)
    assert play(60) - before < 10


@pytest.mark.slow
def test_hundreds_of_worlds_keep_the_jvm_within_its_bounds(sciworld: SciWorld) -> None:
    for number in range(600):
        sciworld.reset(f"use-thermometer-var{number % 270}", 0).close()
    assert psutil.Process(shared_jvm().process.pid).memory_info().rss < 700e6


def test_a_dead_jvm_is_a_fault_and_the_next_world_gets_a_new_one(sciworld: SciWorld) -> None:
    episode = sciworld.reset("boil-var1", 0)
    shared_jvm().process.kill()
    with pytest.raises(SimulatorError, match="JVM"):
        episode.step("look around")
    episode.close()
    again = sciworld.reset("boil-var1", 0)
    assert again.step("inventory").observation.startswith("In your inventory")
    again.close()


def test_the_jvm_dies_with_a_process_that_is_killed() -> None:
    code = (
        "from envhub.envs.sciworld.jvm import shared_jvm\n"
        "print(shared_jvm().process.pid, flush=True)\n"
        "input()\n"
    )
    owner = python(code)
    assert owner.stdout is not None
    jvm = psutil.Process(int(owner.stdout.readline()))
    folder = Path(jvm.cwd())
    owner.kill()
    owner.communicate()
    psutil.wait_procs([jvm], timeout=20)
    assert not jvm.is_running()
    assert not folder.exists()


def test_the_simulator_leaves_nothing_where_it_runs(tmp_path: Path) -> None:
    code = (
        "from envhub.envs.sciworld.environment import SciWorld\n"
        "episode = SciWorld().reset('find-non-living-thing-var0', 0)\n"
        "assert episode.detail()['object_tree']\n"
    )
    where = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    subprocess.run([sys.executable, "-c", code], check=True, env=where, cwd=tmp_path)
    assert list(tmp_path.iterdir()) == []
