"""The shell scripts: they parse, say what they need, and refuse what they cannot do with one line."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = ("launch/install.sh", "launch/local.sh", "launch/multinode.sh", ".ci/run")


def bash(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["bash", *arguments],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize("script", SCRIPTS)
def test_it_parses(script: str) -> None:
    assert bash("-n", script).returncode == 0


@pytest.mark.parametrize("script", ["launch/local.sh", "launch/multinode.sh"])
def test_its_help_says_how_it_is_called_and_what_it_needs(script: str) -> None:
    told = bash(script, "--help")
    assert told.returncode == 0
    assert f"./{script}" in told.stdout
    assert "Needs" in told.stdout


def test_without_a_python_there_is_one_clear_line(tmp_path: Path) -> None:
    for program in ("bash", "dirname", "cat", "sha256sum", "cut", "sed"):
        (tmp_path / program).symlink_to(str(shutil.which(program)))
    told = subprocess.run(
        [str(tmp_path / "bash"), "launch/local.sh"],
        cwd=ROOT, env={"PATH": str(tmp_path), "PRONGHORN_VENV": str(tmp_path / "venv")},
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert told.returncode == 1
    assert told.stderr.startswith("pronghorn: Python 3.11 or 3.12 was not found; install it")
    assert told.stderr.count("\n") == 1
    assert not (tmp_path / "venv").exists()


def test_an_environment_that_is_up_to_date_is_left_alone(tmp_path: Path) -> None:
    venv = tmp_path / "venv"
    (venv / "bin").mkdir(parents=True)
    (venv / "bin" / "pronghorn").write_text("#!/bin/sh\n")
    (venv / "bin" / "pronghorn").chmod(0o755)
    install = (
        "source launch/install.sh; extra=cpu; if has_gpu; then extra=gpu; fi; "
        "hash=$(cat pyproject.toml launch/install.sh | sha256sum | cut -d' ' -f1); "
        'echo "$extra $hash" >"$VENV/pronghorn.stamp"; '
        "pronghorn_install"
    )
    told = bash("-c", install, PRONGHORN_VENV=str(venv))
    assert (told.returncode, told.stdout, told.stderr) == (0, "", "")


def test_every_benchmark_is_run_by_make_bench() -> None:
    told = subprocess.run(
        [sys.executable, "-c", "from benchmarks.all import names; print(*names())"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert {"bus", "learner"} <= set(told.stdout.split())
    assert not {"all", "report"} & set(told.stdout.split())
