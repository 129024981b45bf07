"""`python -m envhub` as a person or the launcher starts it."""

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "envhub", *arguments]


def environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "PRONGHORN_HUB_TOKEN"}


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments),
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "run.toml"
    path.write_text('[hub]\nnum_workers = 1\n[learner]\nsteps = 3\n[model]\nsource = "nowhere"\n')
    return path


def test_a_taken_port_ends_with_one_line_and_exit_code_1(config: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = run(str(config), f"--hub.port={port}")
    assert done.returncode == 1
    assert done.stderr.strip().splitlines() == [
        f"pronghorn hub: hub.host = '127.0.0.1', hub.port = {port}: "
        "cannot listen there: Address already in use"
    ]


@pytest.mark.parametrize(
    ("override", "reason"),
    [
        ("--hub.num_workers=0", "hub.num_workers = 0"),
        ("--hub.nonsense=1", "hub.nonsense = 1: unknown key"),
        ("--hub.host=0.0.0.0", "needs a token; set PRONGHORN_HUB_TOKEN"),
    ],
)
def test_a_mistake_in_the_configuration_ends_with_one_line_and_exit_code_2(
    config: Path, override: str, reason: str
) -> None:
    done = run(str(config), override)
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert reason in done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_hub_cleanly(config: Path, number: signal.Signals) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started = command(str(config), f"--hub.port={port}")
    with subprocess.Popen(started, cwd=ROOT, env=environment(), stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        line = process.stderr.readline()
        assert f"hub listened url=http://127.0.0.1:{port}" in line
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz") as answer:
            assert answer.status == 200
        process.send_signal(number)
        assert process.wait(timeout=20) == 0
        assert "Traceback" not in process.stderr.read()


def test_a_hub_that_is_asked_to_stop_waits_for_the_session_in_play() -> None:
    started = command("--environments", "guess_number", "--hub.drain_s=60")
    with subprocess.Popen(started, cwd=ROOT, env=environment(), stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        url = process.stderr.readline().partition("url=")[2].partition(" ")[0]
        opened = asked(f"{url}/v1/sessions", {"environment": "guess_number", "task": "number-001"})
        session = f"{url}/v1/sessions/{opened['session']}"
        process.send_signal(signal.SIGTERM)
        assert "began to drain sessions=1" in process.stderr.readline()
        assert asked(f"{url}/healthz")["status"] == "draining"
        assert asked(f"{session}/step", {"index": 0, "action": "guess 1"})["observation"]
        assert asked(session, method="DELETE") == {"closed": True}
        assert process.wait(timeout=20) == 0
        assert "sessions_cut=0" in process.stderr.read()


def asked(url: str, body: dict[str, Any] | None = None, method: str | None = None) -> dict[str, Any]:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
    with urllib.request.urlopen(request, timeout=20) as answer:
        found: dict[str, Any] = json.load(answer)
        return found
