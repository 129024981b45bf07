"""A run folder is held by one process, and resumed only by the run that it holds."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from common.config import load
from common.errors import ConfigurationError, PreflightError
from common.run_directory import RunDirectory
from launch.config import RunConfig
from launch.run_folder import StageClock, locked, refuse_live, settle, with_ports
from tests.launch.making import run_config

HOLDER = """
import signal, sys
from pathlib import Path
from common.run_directory import RunDirectory
from launch.run_folder import locked
with locked(RunDirectory(Path(sys.argv[1]))):
    print("held", flush=True)
    signal.pause()
"""


def test_a_second_live_run_is_refused_with_the_pid_of_the_first(tmp_path: Path) -> None:
    folder = RunDirectory(tmp_path / "run")
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder.path)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(PreflightError, match=rf"is live already \(pid {holder.pid}\)"):
            refuse_live(folder)
        with pytest.raises(PreflightError, match=rf"pid {holder.pid}"), locked(folder):
            pass
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.communicate()
    with locked(folder):  # the lock of a killed process is gone
        assert (folder.path / "lock").read_text() == f"{os.getpid()}\n"
    refuse_live(folder)


def test_the_resolved_configuration_has_fixed_ports_and_reads_back_the_same(tmp_path: Path) -> None:
    config = run_config(tmp_path)
    config.run.folder.path.mkdir()
    resolved = settle(config)
    ports = (
        resolved.hub.port,
        resolved.bus.ledger_port,
        resolved.bus.policy_port,
        resolved.bus.weights_port,
    )
    assert 0 not in ports
    assert len(set(ports)) == 4
    assert load(RunConfig, [config.run.folder.config]) == resolved


def test_a_fixed_port_stays_as_it_is(tmp_path: Path) -> None:
    assert with_ports(run_config(tmp_path, hub={"port": 8700})).hub.port == 8700


def test_a_run_goes_on_with_more_steps_but_not_with_another_model(tmp_path: Path) -> None:
    config = run_config(tmp_path)
    config.run.folder.path.mkdir()
    settle(config)
    settle(run_config(tmp_path, learner={"steps": 500, "learning_rate": 1e-5}))
    with pytest.raises(ConfigurationError, match=r"model\.small\.num_layers = 2: .* began with 1"):
        settle(
            run_config(
                tmp_path, model={"small": {"num_layers": 2, "hidden_size": 32, "intermediate_size": 32}}
            )
        )
    with pytest.raises(ConfigurationError, match=r"learner\.group_size = 4: .* began with 8"):
        settle(run_config(tmp_path, learner={"group_size": 4}))


def test_seconds_of_a_stage_add_up_over_resumes(tmp_path: Path) -> None:
    folder = RunDirectory(tmp_path)
    with StageClock(folder).measure("training"):
        pass
    first = StageClock(folder).seconds["training"]
    clock = StageClock(folder)
    with pytest.raises(RuntimeError), clock.measure("training"):
        raise RuntimeError("interrupted")
    assert StageClock(folder).seconds["training"] > first > 0
