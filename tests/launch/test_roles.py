"""How the parts of a run are started: what torchrun is told, and whose cores are whose."""

import asyncio
import signal
import sys
from pathlib import Path

from common.config import load
from launch import roles
from launch.config import RunConfig
from learner.config import LearnerConfig
from tests.launch.making import run_config

ROOT = Path(__file__).parents[2]
DEAF = """
import signal
signal.signal(signal.SIGINT, signal.SIG_IGN)
print('up', flush=True)
signal.pause()
"""


def test_torchrun_gives_the_ranks_the_learners_whole_time_to_stop(tmp_path: Path) -> None:
    config = run_config(tmp_path, supervision={"learner_stop_s": 299.5}, learner={"num_ranks": 2})
    command = roles.learner(config)
    option = command.arguments.index("--shutdown-timeout")
    assert command.arguments[option + 1] == "300"
    assert command.stop_s > 300


async def test_a_rank_that_does_not_stop_is_killed_by_torchrun_after_that_time(tmp_path: Path) -> None:
    """Without the option this takes torchrun's own 30 s."""
    script = tmp_path / "deaf.py"
    script.write_text(DEAF)
    torchrun = roles.learner_arguments(LearnerConfig(), stop_s=1.0)[:-2]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *torchrun,
        str(script),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"up\n"
    process.send_signal(signal.SIGINT)
    async with asyncio.timeout(20):
        await process.wait()


def test_the_learner_of_long_steps_has_time_to_end_one() -> None:
    config = load(RunConfig, [ROOT / "configs" / "textcraft_smollm2.toml"])
    assert config.supervision.learner_stop_s == 300


def test_cores_are_dealt_out_and_shared_only_when_there_are_too_few() -> None:
    assert [roles.share_of_cores((0, 1, 2), index, 2) for index in range(2)] == [(0, 2), (1,)]
    assert [roles.share_of_cores((4,), index, 2) for index in range(2)] == [(4,), (4,)]
    assert roles.share_of_cores((), 0, 2) == ()
