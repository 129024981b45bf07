"""The example environment that `openenv init` writes, as a class here and as a server, and one of tools."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import ConfigurationError, EnvironmentFault, PreflightError
from common.trajectory import TaskReference
from envhub import registry
from envhub.environment import Environment
from envhub.local import LocalHub

pytest.importorskip("openenv.core", reason="pip install openenv-core")
pytest.importorskip("fastmcp", reason="pip install openenv-core")

CLASS = "openenv:parrot_env.server.parrot_env_environment:ParrotEnvironment"
READY = "echoed_message: Parrot Env environment ready!\nmessage_length: 0"
TOOLS = "openenv:calculator:Calculator"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """What OpenEnv's own command writes, on the path as an installed package would be."""
    folder = tmp_path_factory.mktemp("openenv")
    command = [sys.executable, "-m", "openenv.cli", "init", "parrot_env"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        patch.syspath_prepend(str(Path(__file__).parent))
        yield folder


@pytest.fixture
def parrot(project: Path) -> Environment:
    return registry.environment(CLASS)


@pytest.fixture(scope="module")
def server(project: Path) -> Iterator[str]:
    """The same environment served by OpenEnv's own application, on a port that the system chose."""
    code = (
        "import socket, uvicorn; from parrot_env.server.app import app\n"
        "s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True)\n"
        "uvicorn.Server(uvicorn.Config(app, log_level='error')).run([s])"
    )
    environment = {**os.environ, "PYTHONPATH": str(project)}
    served = subprocess.Popen(
        [sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True
    )
    assert served.stdout is not None
    try:
        yield f"openenv:http://127.0.0.1:{int(served.stdout.readline())}"
    finally:
        served.kill()
        served.wait()
        served.stdout.close()


def test_the_example_environment_is_played_as_a_class(parrot: Environment) -> None:
    episode = parrot.reset("seed-000003", 0)
    assert episode.observation == READY
    result = episode.step("Hello")
    assert result.observation == "echoed_message: Hello\nmessage_length: 5"
    assert (result.reward, result.score, result.is_over) == (0.5, 0.5, False)
    assert episode.step("Hello Bob").reward == 0.5
    assert episode.step("and again").reward == 0.0
    assert episode.detail()["score"] == pytest.approx(2.3)
    episode.close()


def test_the_example_environment_is_played_as_a_server(server: str, parrot: Environment) -> None:
    remote = registry.environment(server)
    assert remote.functions.schemas == parrot.functions.schemas
    one, other = remote.reset("seed-000003", 0), parrot.reset("seed-000003", 0)
    assert one.observation == other.observation == READY
    for text in ("Hello", "{}", "", '{"message": "Hi"}', '{"message": 3}', "\ud800"):
        assert one.step(text) == other.step(text)
    one.close()
    other.close()


def test_a_full_server_is_a_fault_and_a_closed_session_makes_room(server: str) -> None:
    remote = registry.environment(server)
    first = remote.reset("seed-000001", 0)
    with pytest.raises(EnvironmentFault, match="CAPACITY_REACHED"):
        remote.reset("seed-000001", 0)
    first.close()
    remote.reset("seed-000001", 0).close()


def test_no_server_is_known_before_anything_is_played() -> None:
    with pytest.raises(PreflightError, match="no OpenEnv server answers there"):
        registry.environment("openenv:http://127.0.0.1:9")


def test_tools_are_functions_and_their_calls_are_actions(project: Path) -> None:
    calculator = registry.environment(TOOLS)
    assert [function.signature for function in calculator.functions] == [
        "add(left: int, right: int)",
        "shout(text: str)",
    ]
    episode = calculator.reset("seed-000001", 0)
    assert episode.observation == "Reach 42."
    assert episode.step("add(left=2, right=2)").observation == "tool_name: add\nresult: 4"
    assert episode.step('shout(text="hi you")').observation == "tool_name: shout\nresult: HI YOU"
    assert episode.step("multiply(left=2, right=2)").is_malformed
    result = episode.step('{"tool_name": "add", "arguments": {"left": 40, "right": 2}}')
    assert (result.is_success, result.is_terminated, result.reward) == (True, True, 1.0)
    assert episode.step("add(left=1, right=1)") == result.model_copy(update={"reward": 0.0})
    episode.close()


async def test_it_plays_inside_an_event_loop_too(project: Path) -> None:
    reference = TaskReference(environment=TOOLS, task="seed-000002", seed=0)
    async with LocalHub() as hub:
        session = await hub.create(reference, "code_as_action")
        result = await session.step('{"function_name": "add", "arguments": {"left": 40, "right": 2}}')
        assert result.is_success


@settings(max_examples=50, deadline=None)
@given(text=st.text(st.characters(exclude_categories=()), max_size=60) | st.sampled_from(["[" * 9999, "{}"]))
def test_no_text_crashes_an_episode(text: str) -> None:
    for name in (CLASS, TOOLS):
        episode = registry.environment(name).reset("seed-000001", 0)
        episode.step(text).observation.encode()
        episode.close()


def test_the_instructions_are_what_the_class_says_about_itself(parrot: Environment) -> None:
    assert parrot.instructions("react").startswith("A simple echo environment that echoes back messages.")
    assert "Message to echo back" in parrot.instructions("function_calling")


def test_a_closed_episode_leaves_no_thread_and_no_file(server: str) -> None:
    remote = registry.environment(server)
    remote.reset("seed-000000", 0).close()
    before = threading.active_count(), len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        episode = remote.reset("seed-000000", 0)
        episode.step("Hello")
        episode.close()
    assert (threading.active_count(), len(os.listdir("/proc/self/fd"))) == before


@pytest.mark.parametrize(
    ("target", "error", "words_of_it"),
    [
        ("parrot_env.models:ParrotEnvironment", ConfigurationError, "has no Environment 'ParrotEnvironment'"),
        ("calculator:Calculater", ConfigurationError, "it has Calculator"),
        ("calculator:Calculator?horizon=abc", ConfigurationError, "horizon = 'abc': must be a whole number"),
        (
            "calculator:Calculator?horizon=[1]",
            ConfigurationError,
            r"horizon = '\[1\]': must be a whole number",
        ),
        ("calculator:Calculator?colour=red", ConfigurationError, "colour"),
        ("no_such_package.server:Thing", PreflightError, "pip install 'no-such-package'"),
    ],
)
def test_what_cannot_be_played_is_refused_when_it_is_named(
    project: Path, target: str, error: type[Exception], words_of_it: str
) -> None:
    with pytest.raises(error, match=words_of_it):
        registry.environment(f"openenv:{target}")
