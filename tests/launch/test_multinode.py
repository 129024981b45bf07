"""`launch/multinode.sh`: what a person is told, and what is refused before anything starts."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

SSH_TO_THIS_MACHINE = """#!/bin/sh
echo "$@" >>"$RECORD"
case $1 in
    deaf) echo "ssh: connect to host deaf: no route" >&2; exit 255 ;;
    mute) echo up >"$MUTE"; exec sleep 600 ;;
    bare) shift; exec sh -c "cd /nowhere-at-all && $*" ;;
    apart) shift; exec unshare --mount sh -c 'mount -t tmpfs tmpfs "$APART"; exec sh -c "$1"' sh "$*" ;;
esac
shift
exec sh -c "$*"
"""
"""Takes the host away and runs the rest here, as ssh does there."""


@contextmanager
def begun(folder: Path, *arguments: str, **environment: str) -> "Iterator[subprocess.Popen[str]]":
    ssh = folder / "ssh"
    ssh.write_text(SSH_TO_THIS_MACHINE)
    ssh.chmod(0o755)
    given = {
        "PRONGHORN_SSH": str(ssh),
        "RECORD": str(folder / "record"),
        "PRONGHORN_HUB_TOKEN": "secret-token",
    }
    with subprocess.Popen(
        ["bash", str(ROOT / "launch" / "multinode.sh"), *arguments], cwd=ROOT,
        env=os.environ | given | environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        try:
            yield process
        finally:
            process.kill()


def multinode(folder: Path, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    with begun(folder, *arguments, **environment) as process:
        out, err = process.communicate(timeout=120)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def config(folder: Path) -> list[str]:
    return [str(ROOT / "configs" / "debug.toml"), f"--run.directory={folder / 'runs'}", "--monitor.wandb=off"]


def test_every_host_that_does_not_answer_is_named_before_anything_starts(tmp_path: Path) -> None:
    hosts = tmp_path / "hosts"
    hosts.write_text("here address=127.0.0.2\ndeaf address=127.0.0.3\nbare address=127.0.0.4\n")
    told = multinode(tmp_path, str(hosts), *config(tmp_path))
    assert told.returncode == 1
    assert "127.0.0.2, which no other host reaches; give address=IP" in told.stderr
    hosts.write_text("here address=10.255.1.1\ndeaf address=10.255.1.2\nbare address=10.255.1.3\n")
    told = multinode(tmp_path, str(hosts), *config(tmp_path))
    assert told.returncode == 1
    lines = [line for line in told.stderr.splitlines() if line.startswith("pronghorn: ")]
    assert len(lines) == 2
    assert lines[0].startswith("pronghorn: deaf: no agent started there: ssh: connect to host deaf: no route")
    assert lines[1].startswith("pronghorn: bare: no agent started there: ")
    assert "secret-token" not in (tmp_path / "record").read_text()
    assert not (tmp_path / "runs" / "debug" / "keys").exists()


def test_ctrl_c_does_not_wait_for_a_host_that_has_not_answered(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "up")
    (tmp_path / "hosts").write_text("mute address=10.255.1.1\n")
    with begun(tmp_path, str(tmp_path / "hosts"), *config(tmp_path), MUTE=str(tmp_path / "up")) as process:
        assert (tmp_path / "up").read_text() == "up\n"
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
    assert process.returncode == 130


def test_what_a_host_lacks_is_named(tmp_path: Path) -> None:
    hosts = tmp_path / "hosts"
    hosts.write_text("one address=10.255.1.1\n")
    told = multinode(
        tmp_path, str(hosts), *config(tmp_path), "--learner.cpu_cores=[4095]", "--learner.device=cpu"
    )
    assert told.returncode == 1
    assert "pronghorn: one: learner.cpu_cores = [4095]: cores [4095] are not here" in told.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root hides a folder from a process")
def test_ranks_on_hosts_that_do_not_share_the_run_folder_are_refused(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    hosts = tmp_path / "hosts"
    roles = ("learner,hub,actors", "learner,actors", "learner,actors")
    text = (
        f"{name} address=10.255.1.{index} directory={tmp_path / folder} roles={role}\n"
        for index, (name, folder, role) in enumerate(
            zip(("one", "near", "apart"), ("runs", "near", "apart"), roles, strict=True)
        )
    )
    hosts.write_text("".join(text))
    told = multinode(tmp_path, str(hosts), *config(tmp_path), APART=str(tmp_path / "runs"))
    assert told.returncode == 1
    assert told.stderr == (
        f"pronghorn: apart: {tmp_path / 'runs' / 'debug'} of one is not there; with ranks of the learner on "
        "several hosts run.directory must be on a file system that they share, at the same path\n"
    )


FAKE_SCONTROL = """#!/bin/sh
echo "scontrol $@" >>"$RECORD"
echo 127.0.0.1
"""
FAKE_SRUN = f"""#!{sys.executable}
import os, subprocess, sys
with open(os.environ["RECORD"], "a") as record:
    record.write(" ".join(["srun", *sys.argv[1:]]) + "\\n")
program = sys.argv[sys.argv.index("sh"):]
if "--unbuffered" in sys.argv:
    os.execvp(program[0], program)
with subprocess.Popen(program, stdout=subprocess.PIPE) as process:
    for line in process.stdout:
        sys.stdout.buffer.write(line)
        sys.stdout.buffer.flush()
"""
"""Like Slurm's it passes on whole lines, unless it is told not to wait for their ends."""


def test_inside_a_slurm_allocation_its_nodes_are_the_hosts_and_srun_reaches_them(tmp_path: Path) -> None:
    for name, text in (("scontrol", FAKE_SCONTROL), ("srun", FAKE_SRUN)):
        program = tmp_path / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(text)
        program.chmod(0o755)
    told = multinode(
        tmp_path,
        *config(tmp_path),
        "--learner.cpu_cores=[4095]",
        "--supervision.host_silence_s=15",
        PATH=f"{tmp_path / 'bin'}:{os.environ['PATH']}",
        SLURM_JOB_ID="7",
        SLURM_JOB_NODELIST="node[1-1]",
        PRONGHORN_SSH="false",
    )
    assert "pronghorn: 127.0.0.1: learner.cpu_cores = [4095]: cores [4095] are not here" in told.stderr
    scontrol, srun = (tmp_path / "record").read_text().splitlines()
    assert scontrol == "scontrol show hostnames node[1-1]"
    assert srun.startswith("srun --overlap --unbuffered --cpu-bind=none -w 127.0.0.1 -N1 -n1 sh -c cd ")
    assert srun.endswith(" -m launch.hosts.agent")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("a\na", "configs/debug.toml"), "hosts:2: 'a' is there twice"),
        (("configs/debug.toml",), "no hosts were given, and this is no Slurm allocation"),
        (("a", "no.toml"), "no.toml: no such configuration file"),
        (("--join", "b", "/nowhere"), "/nowhere: no run over several hosts"),
        (("--join", "b", "c", "/nowhere"), "/nowhere: --join takes one host and one run folder"),
    ],
)
def test_a_mistake_is_one_line(tmp_path: Path, arguments: tuple[str, ...], told: str) -> None:
    said = multinode(tmp_path, *arguments, SLURM_JOB_ID="")
    assert said.returncode in (1, 2)
    assert said.stderr.startswith(f"pronghorn: {told}")
    assert said.stderr.count("\n") == 1
