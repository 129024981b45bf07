"""What servers of AgentGym do wrong becomes a fault of one line, and the policy is never blamed for it."""

import asyncio
import itertools
import socket
import threading
from typing import Any

import pytest

from common.errors import ConfigurationError, EnvironmentFault
from envhub.agentgym.backend import AgentGymBackend
from envhub.agentgym.remote import NoSuchPath, Remote
from envhub.environment import StepResult
from envhub.worker import SessionHost
from tests.envhub.agentgym.faulty import SILENT, STEP, HastyBackend, begin_and_step, faulty


@pytest.mark.parametrize("path", ["create", "reset", "step", "observation"])
@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"statuses": 500}, "status 500"),
        ({"statuses": 503}, "status 503"),
        ({"replies": {"error": "KeyError:\n 'id'"}}, "answers an error: KeyError: 'id'"),
        ({"raw": b"Internal Server Error"}, "not JSON"),
        ({"raw": b"[" * 100_000}, "not JSON"),
        ({"replies": None}, "has no|is no"),
        ({"replies": {"unexpected": 1}}, "has no|is no"),
    ],
)
async def test_a_wrong_answer_to_any_call_is_a_fault_that_names_the_server(
    path: str, wrong: dict[str, Any], told: str
) -> None:
    spec = "webarena+C" if path == "observation" else "textcraft"
    given = {name: {path: value} for name, value in wrong.items()}
    async with faulty(**given) as (server, url):
        with pytest.raises(EnvironmentFault, match=told) as raised:
            await asyncio.to_thread(begin_and_step, f"{spec}@{url}")
        assert "\n" not in str(raised.value)
        assert url.removeprefix("http://") in str(raised.value)
        was_made = path != "create"
        assert ("close" in [asked for asked, _ in server.asked]) is was_made


@pytest.mark.parametrize(
    "reply",
    [
        {"reward": 0, "done": False},
        {"observation": "It opens.", "done": False},
        {"observation": "It opens.", "reward": 0},
        {**STEP, "observation": 5},
        {**STEP, "reward": "1"},
        {**STEP, "reward": float("nan")},
        {**STEP, "done": "no"},
        ["It opens."],
        "It opens.",
    ],
)
async def test_a_step_without_what_clients_read_is_a_fault(reply: Any) -> None:
    async with faulty(replies={"step": reply}) as (_, url):
        with pytest.raises(EnvironmentFault):
            await asyncio.to_thread(begin_and_step, f"textcraft@{url}")


@pytest.mark.parametrize("path", ["create", "reset", "step"])
async def test_a_silent_server_is_a_fault_at_the_deadline(path: str) -> None:
    async with faulty(replies={path: SILENT}) as (_, url):
        with pytest.raises(EnvironmentFault, match=f"POST /{path}: no answer within 0.2 s"):
            await asyncio.to_thread(begin_and_step, f"textcraft@{url}", kind=HastyBackend)


async def test_a_server_that_is_not_there_is_a_fault() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(EnvironmentFault, match="ConnectionRefusedError"):
        await asyncio.to_thread(begin_and_step, f"textcraft@{url}")


async def test_a_reset_that_timed_out_there_is_a_fault() -> None:
    async with faulty(replies={"reset": {"observation": "TimeoutError"}}) as (_, url):
        with pytest.raises(EnvironmentFault, match="timed out there"):
            await asyncio.to_thread(begin_and_step, f"webarena@{url}")


async def test_a_server_without_close_is_closed_all_the_same() -> None:
    async with faulty(statuses={"close": 404}) as (server, url):
        result = await asyncio.to_thread(begin_and_step, f"alfworld@{url}")
        assert result == StepResult(observation="It opens.")
        assert server.asked[-1] == ("close", {"id": 7})


async def test_the_hub_calls_it_a_fault_of_the_environment() -> None:
    async with faulty(statuses={"step": 500}) as (_, url):
        numbers = itertools.count()
        host = SessionHost()

        def ask(operation: str, *arguments: Any) -> Any:
            return host.handle([next(numbers), operation, arguments])

        spec = f"agentgym:textcraft@{url}"
        task = {"environment": spec, "task": "textcraft_3", "seed": 0}
        _, code, opening = await asyncio.to_thread(ask, "create", "s", task, "react")
        assert (code, opening["observation"]) == ("", "You see a door.")
        _, code, message = await asyncio.to_thread(ask, "step", "s", 0, "look")
        assert code == "environment_fault"
        assert message.endswith("POST /step: status 500")
        assert (await asyncio.to_thread(ask, "step", "s", 0, "look"))[1] == "unknown_session"


def test_a_connection_that_the_server_gave_up_is_made_anew() -> None:
    """As servers do with what is idle for long: between two turns a policy may think for minutes."""
    listener = socket.create_server(("127.0.0.1", 0))
    gone = threading.Event()

    def serve_one_request_per_connection() -> None:
        for _ in range(2):
            link, _ = listener.accept()
            link.recv(1 << 16)
            link.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n7")
            link.close()
            gone.set()

    server = threading.Thread(target=serve_one_request_per_connection)
    server.start()
    with listener:
        remote = Remote(f"http://127.0.0.1:{listener.getsockname()[1]}")
        remote.start(5.0)
        assert remote.get("observation") == 7
        assert gone.wait(5.0)
        assert remote.get("observation") == 7
        remote.close()
        server.join()


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n7",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n7",
        b"nonsense\r\n\r\n",
    ],
)
def test_an_answer_cut_short_is_a_fault(answer: bytes) -> None:
    def serve() -> None:
        link, _ = listener.accept()
        link.recv(1 << 16)
        link.sendall(answer)
        link.close()

    listener = socket.create_server(("127.0.0.1", 0))
    server = threading.Thread(target=serve)
    server.start()
    with listener:
        remote = Remote(f"http://127.0.0.1:{listener.getsockname()[1]}")
        remote.start(5.0)
        with pytest.raises(EnvironmentFault, match="GET /observation: "):
            remote.get("observation")
        remote.close()
        server.join()


async def test_a_password_of_the_url_is_sent_and_never_told() -> None:
    async with faulty(statuses={"step": 500}) as (_, url):
        spec = f"textcraft@{url.replace('//', '//me:secret@')}"
        with pytest.raises(EnvironmentFault, match="status 500") as raised:
            await asyncio.to_thread(begin_and_step, spec)
        assert "secret" not in str(raised.value)
        assert "secret" not in AgentGymBackend(spec).source


async def test_a_path_that_is_not_there_has_a_fault_of_its_own() -> None:
    async with faulty(statuses={"close": 404}) as (_, url):
        remote = Remote(url)
        remote.start(5.0)
        with pytest.raises(NoSuchPath):
            await asyncio.to_thread(remote.post, "close")
        remote.close()


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ("", "is given as"),
        ("textcraft", "is given as"),
        ("textcraft@", "is given as"),
        ("textcraft@ftp://host", "allowed are http"),
        ("textcraft@http://", "allowed are http"),
        ("textcraft@http://host:port", "port"),
        ("mine@http://host", "its dialect is not known; say it, as in agentgym:mine\\+A@URL"),
        ("textcraft+Z@http://host", "its dialect is not known"),
    ],
)
def test_a_wrong_specification_is_a_clear_mistake(spec: str, told: str) -> None:
    with pytest.raises(ConfigurationError, match=told) as raised:
        AgentGymBackend(spec)
    assert "\n" not in str(raised.value)
