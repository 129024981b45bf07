"""docs/hub.md is true: its commands are read, its examples played on a real hub, its tables compared."""

import asyncio
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from common.action_format import ACTION_FORMATS
from common.role import run_role
from envhub.__main__ import SHORTCUTS, HubRoleConfig
from envhub.agentgym.dialects import DIALECTS, dialect_of
from envhub.agentgym.door import mount
from envhub.agentgym.view import View
from envhub.config import HubConfig
from envhub.metrics import HubMetrics
from envhub.refusal import STATUS
from envhub.server import HubServer
from envhub.serving import served, serving

TEXT = (Path(__file__).parents[2] / "docs" / "hub.md").read_text()
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)
ADDRESS = "http://127.0.0.1:8700"
LETTERS = "ABCD"


def blocks(language: str, marker: str = "") -> list[str]:
    return [body for kind, body in BLOCKS if kind == language and marker in body]


def table(first_heading: str) -> list[list[str]]:
    """The cells of each row of the table whose first column has that heading."""
    found = re.search(rf"^\| {re.escape(first_heading)} \|.*\n\|[-|]+\n((?:\|.*\n)+)", TEXT, re.MULTILINE)
    assert found is not None, first_heading
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in found[1].splitlines()]


def named(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


@pytest.fixture
async def hub() -> AsyncIterator[HubServer]:
    async with serving(HubConfig(environments=("textcraft",))) as server:
        yield server


async def output(*command: str, **variables: str) -> str:
    done = await asyncio.to_thread(
        subprocess.run,
        command,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(shutil.which("curl") is None or shutil.which("bash") is None, reason="curl and bash")
async def test_the_episode_with_curl_is_played_to_its_end(hub: HubServer) -> None:
    (script,) = blocks("bash", "$HUB")
    printed = await output("bash", "-euc", script, HUB=hub.url)
    answers = list(json_values(printed))
    # Environments, tasks, three steps, hints, the last step, the end.
    assert len(answers) == 8
    assert not any("error" in answer for answer in answers)
    (shown,) = blocks("json", "is_terminated")
    assert answers[6] == json.loads(shown)
    assert len(hub.sessions) == 0


@pytest.mark.parametrize(
    ("marker", "printed"),
    [
        ("import json", ["Got 2 oak logs 0.0", "Crafted 1 minecraft:oak_boat 1.0"]),
        ("import msgpack", ["Crafting commands:", "Goal: craft oak boat."]),
    ],
)
async def test_the_python_runs_as_written(hub: HubServer, marker: str, printed: list[str]) -> None:
    (script,) = blocks("python", marker)
    assert ADDRESS in script
    lines = (await output(sys.executable, "-c", script.replace(ADDRESS, hub.url))).splitlines()
    assert [lines[0], lines[-1]] == printed


async def test_each_pair_of_bodies_is_the_same_turn(hub: HubServer) -> None:
    pairs = re.findall(r"^`(\w+)`: .*\n\n```json\n(.*)\n(.*)\n```$", TEXT, re.MULTILINE)
    assert tuple(action_format for action_format, *_ in pairs) == ACTION_FORMATS
    async with aiohttp.ClientSession(hub.url) as http:
        for action_format, *bodies in pairs:
            results = [await first_turn(http, action_format, json.loads(body)) for body in bodies]
            assert results[0] == results[1]
            assert results[0]["observation"] == "Got 2 oak logs"


async def first_turn(http: aiohttp.ClientSession, action_format: str, body: dict[str, Any]) -> Any:
    task = {"environment": "textcraft", "task": "textcraft_oak_boat", "action_format": action_format}
    opened = await (await http.post("/v1/sessions", json=task)).json()
    return await (await http.post(f"/v1/sessions/{opened['session']}/step", json=body)).json()


def test_every_command_starts_a_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings, _ = blocks("toml")
    (tmp_path / "hub.toml").write_text(settings)
    monkeypatch.chdir(tmp_path)
    commands = [line for body in blocks("") for line in body.splitlines() if line.startswith("pronghorn hub")]
    assert len(commands) >= 8
    for command in commands:
        configs: list[HubRoleConfig] = []

        def work(config: HubRoleConfig, configs: list[HubRoleConfig] = configs) -> int:
            configs.append(config)
            return 0

        arguments = shlex.split(command)[2:]
        assert run_role("hub", HubRoleConfig, work, arguments=arguments, shortcuts=SHORTCUTS) == 0, command
        assert served(configs[0].hub)
        assert configs[0].hub.port


def test_the_file_of_settings_tells_the_defaults() -> None:
    settings, several = blocks("toml")
    assert len(HubConfig(**tomllib.loads(several)["hub"]).urls) == 2
    hub = tomllib.loads(settings)["hub"]
    for name in ("num_workers", "session_ttl_s", "max_sessions"):
        assert hub[name] == HubConfig.model_fields[name].default
    assert f"`drain_s` ({HubConfig.model_fields['drain_s'].default:g}) seconds" in TEXT


def test_every_refusal_is_told_with_its_status() -> None:
    told = [(code, int(status)) for status, codes, _ in table("status") for code in named(codes)]
    assert dict(told) == STATUS
    assert len(told) == len(STATUS)


def test_every_metric_is_told_with_its_labels() -> None:
    metrics = HubMetrics()
    metrics.session_opened("a")
    metrics.session_expired("a")
    metrics.session_faulted("a", "worker_died")
    metrics.step_answered("a", 0.1)
    metrics.refused("hub_full")
    counted = metrics.render(sessions={"a": 1}, num_workers=1, lost_workers={"a": 0}, num_connections=1)
    labels: dict[str, set[str]] = {}
    for name, inside in re.findall(
        r"^pronghorn_hub_(\w+?)(?:_bucket|_sum|_count)?(?:\{(.*)\})? ", counted, re.M
    ):
        labels[name] = set(re.findall(r"(\w+)=", inside)) - {"le"}
    told = {named(name)[0]: set(re.findall(r"\w+", cell)) for name, cell, _ in table("name")}
    assert told == labels


def test_every_dialect_is_told_with_the_keys_of_its_requests_and_replies() -> None:
    told: list[str] = []
    for names, letter, create, reset, step, result in table("environments"):
        for name in named(names) or ["any other name"]:
            dialect = dialect_of(name)
            told.append(name)
            assert letter in LETTERS
            assert named(reset) == [dialect.id_keys[0], dialect.task_keys[0]]
            assert named(step) == [dialect.id_keys[0], "action"]
            made = dialect.operations["create"].answer(View())
            assert named(create) == (list(made) if isinstance(made, dict) else [])
            assert named(result) == list(dialect.operations["step"].answer(View()))
            assert dialect_of("", letter).operations["create"].answer(View()) == (
                made if name != "textcraft" else {"id": 0}
            )
    assert set(told) - {"any other name"} == set(DIALECTS) - {*LETTERS, "tools"}


def test_every_path_of_a_dialect_is_told() -> None:
    told = set(re.findall(r"`(?:GET /|POST /)?(\w+)`", TEXT.partition("The five endpoints")[2]))
    for dialect in DIALECTS.values():
        assert set(dialect.operations) - {""} <= told


def test_environments_are_mounted_where_it_says() -> None:
    for name, places in table("environment"):
        (environment,) = named(name)
        prefixes = dialect_of(environment).prefixes
        own = mount(environment)
        assert named(places) == [f"/{own}", *(f"/{prefix}/{own}" for prefix in prefixes)]


def json_values(text: str) -> list[Any]:
    """JSON values that stand one after the other."""
    found, rest = [], text.strip()
    while rest:
        value, end = json.JSONDecoder().raw_decode(rest)
        found.append(value)
        rest = rest[end:].strip()
    return found
