"""Whatever clients send, the dialects answer with status 200 and every key that the clients read."""

import asyncio
import json
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envhub.agentgym.dialects import DIALECTS, A
from envhub.agentgym.requests import read_id, read_task
from envhub.envs.guess_number import GuessNumber
from envhub.refusal import HubRefusal
from tests.envhub.agentgym.clients import CLIENTS, Client, ToolClient, call
from tests.envhub.agentgym.serving import Served, served

KEYS: dict[str, dict[str, set[str]]] = {
    "A": {"reset": {"observation", "reward", "score", "done"}, "step": {"observation", "reward", "done"}},
    "textcraft": {"reset": {"observation"}, "step": {"observation", "reward", "done"}},
    "babyai": {
        "reset": {"observation", "reward", "score", "done"},
        "step": {"observation", "reward", "score", "done"},
        "observation": {"observation", "reward", "score", "done"},
    },
    "sciworld": {
        "reset": {"task_description", "observation"},
        "step": {"observation", "reward", "score", "done"},
    },
    "alfworld": {
        "reset": {"observation", "available_actions"},
        "step": {"observation", "available_actions", "reward", "done"},
    },
    "maze": {"reset": {"observation"}, "step": {"observation", "reward", "done"}},
    "wordle": {"reset": set(), "step": {"observation", "reward", "done"}},
    "webshop": {"step": {"state", "reward", "done"}},
    "sqlgym": {"step": {"state", "reward", "done"}},
    "tools": {"step": {"observation", "reward", "done"}},
    "searchqa": {"step": {"observation", "reward", "done"}},
    "webarena": {"reset": {"observation"}, "step": {"observation", "reward", "terminated"}},
}
"""What clients index, by the checklist; resets of B and C are an array and a text."""
ODD_IDS: list[Any] = [0, 1, -1, 2**53, 10**30, "7", "abc", "", None, True, 1.5, [], {}, "\ud800", "\u0661"]

WRONG_TASKS: list[Any] = [100, -1, 2**62, 2**64, "no such task", "\ud800", [], 1.5, True]
WRONG_ACTIONS: list[Any] = [None, 5, ["guess 3"], {}]

ROOT = str(Path(__file__).parents[3])
"""Where this repository lies: nobody is told."""

every_dialect = pytest.mark.parametrize("dialect", KEYS)


def text_of(reply: Any, dialect: str) -> str:
    """What the client shows of a reply."""
    if isinstance(reply, list):
        return str(reply[0])
    return (
        reply
        if isinstance(reply, str)
        else str(reply["state" if dialect in ("webshop", "sqlgym") else "observation"])
    )


class Mouth:
    """Asks anything of one environment; a reply must be 200 and say nothing of this machine."""

    def __init__(self, hub: Served, dialect: str) -> None:
        self.base, self.dialect = f"{hub.url}/guess_number", dialect
        self.id_key = CLIENTS[dialect].id_key
        self.task_key = CLIENTS[dialect].task_key

    async def __call__(self, method: str, path: str, body: Any = None, raw: bytes | None = None) -> Any:
        status, answer = await asyncio.to_thread(call, method, f"{self.base}/{path}", body, raw)
        assert status == 200, (path, status, answer)
        shown = json.dumps(answer)
        assert "Traceback" not in shown
        assert ROOT not in shown
        assert "Hidden" not in shown
        return answer

    async def client(self) -> Client:
        return await asyncio.to_thread(CLIENTS[self.dialect], self.base)

    async def refused(self, path: str, body: Any) -> str:
        """What the reply to a mistake shows, after checking its keys."""
        answer = await self("POST", path, body)
        if wanted := KEYS[self.dialect].get(path):
            assert wanted <= set(answer)
            assert answer["error"] == text_of(answer, self.dialect)
            assert not answer.get("reward")
        return text_of(answer, self.dialect)


def speaking(dialect: str, **more: Any) -> Any:
    return served("guess_number", dialects={"guess_number": dialect}, **more)


@every_dialect
async def test_a_step_before_the_first_reset_is_answered_with_all_keys(dialect: str) -> None:
    async with speaking(dialect) as hub:
        mouth = Mouth(hub, dialect)
        client = await mouth.client()
        answer = await mouth("POST", "step", {mouth.id_key: client.id, "action": "guess 3"})
        assert KEYS[dialect]["step"] <= set(answer)
        assert ("error" in answer) is (dialect != "textcraft")


async def test_textcraft_plays_task_0_from_its_creation_and_a_goal_when_one_is_given() -> None:
    async with served("textcraft") as hub:
        base = f"{hub.url}/textcraft"
        _, created = await asyncio.to_thread(call, "POST", f"{base}/create")
        assert set(created) == {"id", "observation", "done", "reward"}
        _, shown = await asyncio.to_thread(call, "GET", f"{base}/observation?id={created['id']}")
        assert shown == created["observation"]
        _, named = await asyncio.to_thread(call, "POST", f"{base}/create", {"goal": "oak boat"})
        assert "Goal: craft oak boat." in named["observation"]
        for body in ({"goal": "moon"}, {"commands": "craft 1 moon using 1 cheese", "goal": "moon"}):
            status, answer = await asyncio.to_thread(call, "POST", f"{base}/create", body)
            assert status == 200
            assert {"id", "observation", "done", "reward", "error"} == set(answer)
            assert answer["id"] == 0
        assert len(hub.door.plays) == 2


@every_dialect
async def test_odd_closed_and_missing_ids_are_answered_with_all_keys(dialect: str) -> None:
    async with speaking(dialect) as hub:
        mouth = Mouth(hub, dialect)
        client = await mouth.client()
        await mouth("POST", "close", {mouth.id_key: client.id})
        for odd in (client.id, str(client.id), *ODD_IDS):
            more = {} if odd is None else {mouth.id_key: odd}
            assert "no such id" in await mouth.refused("step", {**more, "action": "guess 3"})
            if not (dialect in ("tools", "searchqa") and odd is None):
                assert "no such id" in await mouth.refused("reset", {**more, mouth.task_key: 0})
            answer = await mouth("POST", "close", more)
            assert answer is False or "closed" in answer
        for path in DIALECTS[dialect].operations:
            if DIALECTS[dialect].operations[path].verb in ("look", "preview"):
                for odd in ("", "?id=", "?id=abc&env_idx=-3", f"?{mouth.id_key}={client.id}"):
                    await mouth("GET", f"{path}{odd}")
        assert len(hub.door.plays) == 0


@every_dialect
async def test_a_step_after_the_end_changes_nothing_and_says_that_it_is_over(dialect: str) -> None:
    async with speaking(dialect) as hub:
        mouth = Mouth(hub, dialect)
        client = await mouth.client()
        await asyncio.to_thread(client.reset, 3)
        for number in range(1, 65):
            text = f"Thought: next\nAction: guess {number}"
            raw = isinstance(client, ToolClient)
            _, reward, done = await asyncio.to_thread(client.step, f"guess {number}" if raw else text)
            if done:
                break
        assert reward == 1
        answer = await mouth("POST", "step", {mouth.id_key: client.id, "action": "guess 1"})
        assert answer.get("done", answer.get("terminated")) is True
        assert answer["reward"] == 0
        assert answer.get("score", 1) == 1
        assert "over" in answer["error"]


@every_dialect
async def test_wrong_bodies_and_tasks_are_answered_and_leave_the_episode_as_it_was(dialect: str) -> None:
    async with speaking(dialect) as hub:
        mouth = Mouth(hub, dialect)
        client = await mouth.client()
        await asyncio.to_thread(client.reset, 3)
        own = {mouth.id_key: client.id}
        before = await mouth("GET", f"observation?{mouth.id_key}={client.id}")
        for wrong in WRONG_TASKS:
            assert await mouth.refused("reset", {**own, mouth.task_key: wrong})
        for text in WRONG_ACTIONS:
            assert "action" in await mouth.refused("step", {**own, "action": text})
        for raw in (b"{", b"[1]", b'"text"', b"\xff", b"[" * 5000, b"nul"):
            answer = await mouth("POST", "step", raw=raw)
            assert KEYS[dialect]["step"] <= set(answer)
        assert await mouth("GET", f"observation?{mouth.id_key}={client.id}") == before
        answer = await mouth("POST", "step", {**own, "action": "\ud800 guess"})
        assert "error" not in answer


async def test_a_body_too_large_is_answered_in_the_dialects_form() -> None:
    async with speaking("A", max_body_bytes=1 << 12) as hub:
        mouth = Mouth(hub, "A")
        assert "too large" in await mouth.refused("step", {"id": 1, "action": "x" * (1 << 13)})


async def test_a_reset_that_names_a_task_plays_it_and_other_keys_are_ignored() -> None:
    async with speaking("A") as hub:
        mouth = Mouth(hub, "A")
        client = await mouth.client()
        await mouth("POST", "reset", {"id": client.id, "data_idx": "number-007", "world_type": "Text"})
        hidden = re.search(r"Hidden: ([0-9]+)", GuessNumber().reset("number-007", 0).render())
        assert hidden is not None
        answer = await mouth("POST", "step", {"id": client.id, "action": f"guess {hidden[1]}"})
        assert (answer["reward"], answer["done"]) == (1, True)


@settings(max_examples=200, deadline=None)
@given(
    value=st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(exclude_categories=()))
    | st.lists(st.integers()),
    keys=st.sampled_from([dialect.task_keys for dialect in DIALECTS.values()]),
)
def test_any_value_is_an_id_and_a_task_or_a_clear_mistake(value: Any, keys: tuple[str, ...]) -> None:
    assert isinstance(read_id({"id": value}, A.id_keys), int)
    with suppress(HubRefusal):
        wanted = read_task({keys[-1]: value}, keys, None)
        assert isinstance(wanted, int) or wanted.encode() or value == ""


@pytest.mark.parametrize("index", [2**31, -(2**31), 2**62, str(2**31), "9" * 16])
def test_an_index_that_no_task_can_have_is_a_mistake(index: int | str) -> None:
    assert read_task({"data_idx": str(2**31 - 1)}, A.task_keys, None) == 2**31 - 1
    with pytest.raises(HubRefusal, match="the index of a task is expected"):
        read_task({"data_idx": index}, A.task_keys, None)
