"""`launch/multinode.sh` over hosts that are all this machine: who starts when, with what, who is stopped."""

import os
import pty
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).parents[2]

SSH_TO_THIS_MACHINE = """#!/usr/bin/env bash
printf 'ssh %s\\n' "$*" >>"$PLAY/record"
while [[ $1 == -* ]]; do
    case $1 in -o | -R) shift ;; esac
    shift
done
shift
exec env -u PRONGHORN_HUB_TOKEN bash -c "$*"
"""
"""Takes the options and the host away and runs the rest here; like ssh it hands no environment on."""

SLEEP_UNTIL_THE_RUN_GOES_ON = """#!/usr/bin/env bash
echo asleep >>"$PLAY/record"
echo asleep >"$PLAY/asleep"
read -r _ <"$PLAY/awake"
"""

PYTHON_THAT_KNOWS_THE_SETTINGS = """#!/usr/bin/env bash
echo "$PLAY/run 1001 1002 1003 1004"
"""

PRONGHORN_OF_TWO_SCENES = """#!/usr/bin/env bash
printf '%s token=%s\\n' "$*" "${PRONGHORN_HUB_TOKEN:-none}" >>"$PLAY/record"
if [ "$1" = actor ]; then
    echo "words of the actor"
    echo $$ >"$PLAY/actor"
    exec tail -f /dev/null
fi
mkdir -p "$PLAY/run/logs"
touch "$PLAY/run/config.toml" "$PLAY/run/tasks.json"
read -r _ <"$PLAY/asleep"
echo ledger >>"$PLAY/record"
touch "$PLAY/run/ledger.sqlite"
echo on >"$PLAY/awake"
read -r pid <"$PLAY/actor"
echo "$pid" >"$PLAY/pid"
"""
"""The run makes its ledger when the remote actor has looked for it once, and ends when the actor is there."""


@dataclass
class Play:
    """What one call of the script did."""

    folder: Path
    told: "subprocess.CompletedProcess[str]"

    @property
    def record(self) -> list[str]:
        return (self.folder / "record").read_text().splitlines()

    def line(self, part: str) -> str:
        return next(line for line in self.record if part in line)


@pytest.fixture
def stage(tmp_path: Path) -> Path:
    """A checkout whose parts are actors in the other sense."""
    for name in ("multinode.sh", "install.sh"):
        (tmp_path / "launch").mkdir(exist_ok=True)
        shutil.copy(ROOT / "launch" / name, tmp_path / "launch" / name)
    programs = {
        "bin/ssh": SSH_TO_THIS_MACHINE,
        "bin/sleep": SLEEP_UNTIL_THE_RUN_GOES_ON,
        ".venv/bin/python": PYTHON_THAT_KNOWS_THE_SETTINGS,
        ".venv/bin/pronghorn": PRONGHORN_OF_TWO_SCENES,
    }
    for name, text in programs.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(0o755)
    for name in ("asleep", "awake", "actor"):
        os.mkfifo(tmp_path / name)
    return tmp_path


def play(folder: Path, first: str, stdin: int = subprocess.DEVNULL, **environment: str) -> Play:
    path = f"{folder / 'bin'}:{os.environ['PATH']}"
    told = subprocess.run(
        ["bash", str(folder / "launch" / "multinode.sh"), f"{first} host2", "c.toml", "--run.name=two words"],
        env=os.environ | {"PATH": path, "PLAY": str(folder)} | environment,
        stdin=stdin, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    return Play(folder, told)


@pytest.mark.parametrize("first", ["localhost", "host1"])
def test_a_remote_actor_starts_when_the_ledger_is_there_and_ends_with_the_run(
    stage: Path, first: str
) -> None:
    played = play(stage, first)
    assert played.told.returncode == 0, played.told
    record = played.record
    actor = played.line("actor ")
    assert record.index("asleep") < record.index("ledger") < record.index(actor)
    pid = int((stage / "pid").read_text())
    if psutil.pid_exists(pid):
        psutil.wait_procs([psutil.Process(pid)], timeout=10)
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_run_and_remote_actor_use_the_ports_of_this_start(stage: Path) -> None:
    played = play(stage, "localhost")
    ports = "--hub.port=1001 --bus.ledger_port=1002 --bus.policy_port=1003 --bus.weights_port=1004 token=none"
    run, actor = (
        next(line for line in played.record if line.startswith(f"{who} ")) for who in ("run", "actor")
    )
    assert run == f"run c.toml --run.name=two words {ports}"
    assert actor == f"actor {stage}/run/config.toml --name=actor-host2 {ports}"
    assert "-R 127.0.0.1:1002:127.0.0.1:1002" in played.line("-R ")


def test_the_log_of_a_remote_actor_is_written_where_it_runs(stage: Path) -> None:
    played = play(stage, "host1")
    assert "words of the actor" in (stage / "run" / "logs" / "actor-host2.log").read_text()
    to_first = played.line("-tt -n host1 ")
    assert to_first.rstrip().endswith(f">>{stage}/run/logs/actor-host2.log 2>&1; }}")


def test_a_remote_actor_has_a_terminal_so_that_it_ends_with_its_connection(stage: Path) -> None:
    played = play(stage, "host1")
    assert "-tt -n -R" in played.line("--name=actor-host2")
    assert "-tt -n host1 " in played.line("--name=actor-host2")


def test_ctrl_c_in_a_terminal_reaches_a_run_on_another_host(stage: Path) -> None:
    ours, theirs = pty.openpty()
    try:
        played = play(stage, "host1", stdin=theirs)
    finally:
        os.close(ours)
        os.close(theirs)
    assert " -t host1 " in played.line("pronghorn run")


def test_without_a_terminal_none_is_asked_for(stage: Path) -> None:
    assert " -t host1 " not in play(stage, "host1").line("pronghorn run")


def test_a_token_that_other_hosts_would_not_have_is_left_out_and_told(stage: Path) -> None:
    played = play(stage, "localhost", PRONGHORN_HUB_TOKEN="secret")
    assert played.told.stderr.startswith("pronghorn: PRONGHORN_HUB_TOKEN stays unused")
    assert played.told.stderr.count("\n") == 1
    assert "secret" not in (stage / "record").read_text()
