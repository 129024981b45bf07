"""One run over network namespaces, each a host with address, name, shared memory and folder of its own."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from common.run_directory import RunDirectory
from launch.hosts.joining import join
from tests.multinode.namespaces import Hosts, why_not

ROOT = Path(__file__).parents[2]
DEADLINE_S = float(os.environ.get("PRONGHORN_MULTINODE_S", "240"))

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(2 * DEADLINE_S),
    pytest.mark.skipif(bool(why_not()), reason=why_not()),
]

SSH_INTO_A_NAMESPACE = """#!/bin/sh
host=$1; shift
exec ip netns exec "$TAG-$host" unshare --mount --uts sh -c \\
    'hostname "$1"; mount -t tmpfs tmpfs /dev/shm; exec sh -c "$2"' sh "$TAG-$host" "$*"
"""

TINY = """
[tasks]
environment = "guess_number"
action_format = "plain"
[model]
source = "small"
[model.small]
hidden_size = 32
intermediate_size = 64
num_layers = 1
num_heads = 2
num_kv_heads = 2
[sampling]
max_action_tokens = 8
max_episode_tokens = 256
[actor]
max_sessions = 4
[actor.engine]
kind = "transformers"
max_num_seqs = 4
[learner]
groups_per_step = 2
group_size = 2
drops_zero_variance = false
checkpoint_every = 2
[learner.staleness]
max_staleness = 1
[horizon]
rounds = [3]
[monitor]
wandb = "off"
live_view = "off"
"""


def start(folder: Path, hosts: Hosts, lines: list[str], steps: int) -> "subprocess.Popen[str]":
    (folder / "hosts").write_text("\n".join(lines))
    (folder / "tiny.toml").write_text(TINY)
    ssh = folder / "ssh"
    ssh.write_text(SSH_INTO_A_NAMESPACE)
    ssh.chmod(0o755)
    command = [sys.executable, "-m", "launch.hosts", str(folder / "hosts"), str(folder / "tiny.toml")]
    command += [f"--run.directory={folder / 'main'}", f"--learner.steps={steps}"]
    environment = os.environ | {"PRONGHORN_SSH": str(ssh), "TAG": hosts.tag, "OMP_NUM_THREADS": "1"}
    with (folder / "out").open("a") as out:
        return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=out, stderr=out, text=True)


def line(folder: Path, hosts: Hosts, name: str, roles: str) -> str:
    return f"{name} address={hosts.address(name)} roles={roles} directory={folder / name}"


def until(condition: Callable[[], bool], run: "subprocess.Popen[str]", folder: Path) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert run.poll() is None, (folder / "out").read_text()
        assert time.monotonic() < deadline, (folder / "out").read_text()
        with_pause = subprocess.Popen(["sleep", "0.2"])
        with_pause.wait()


def metrics(folder: Path) -> int:
    file = folder / "main" / "run" / "metrics.jsonl"
    return len(file.read_text().splitlines()) if file.exists() else 0


def actors_of(ledger: Path) -> set[str]:
    with sqlite3.connect(ledger) as database:
        return {row[0] for row in database.execute("SELECT DISTINCT actor FROM trajectories")}


def test_a_run_over_four_hosts_outlives_a_cut_link_and_takes_a_late_host_in(tmp_path: Path) -> None:
    with Hosts.made(4) as hosts:
        lines = [
            line(tmp_path, hosts, "h1", "learner,hub"),
            line(tmp_path, hosts, "h2", "learner,actors:1,relay"),
            line(tmp_path, hosts, "h3", "actors:1,relay"),
        ]
        run = start(tmp_path, hosts, lines, steps=14)
        try:
            until(lambda: metrics(tmp_path) >= 2, run, tmp_path)
            with hosts.cut("h3"):
                join(line(tmp_path, hosts, "h4", "actors:1,relay"), RunDirectory(tmp_path / "main" / "run"))
                begun = metrics(tmp_path)
                until(lambda: metrics(tmp_path) > begun, run, tmp_path)
            assert run.wait(DEADLINE_S) == 0, (tmp_path / "out").read_text()
        finally:
            run.send_signal(signal.SIGINT) if run.poll() is None else None
            run.wait(60)
        assert [pid for name in hosts.names for pid in hosts.processes(name)] == []
    assert "h4 joins" in (tmp_path / "out").read_text()
    assert (tmp_path / "h1" / "run" / "final_model").is_dir()
    assert {"h2-actor-0", "h3-actor-0"} <= actors_of(tmp_path / "h1" / "run" / "ledger.sqlite")
    for name in ("h2", "h3", "h4"):
        assert not (tmp_path / name / "run" / "ledger.sqlite").exists()
        assert {file.name for file in (tmp_path / name / "run" / "keys" / "hosts").iterdir()} == {name}
