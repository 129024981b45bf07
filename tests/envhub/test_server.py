"""The hub over real HTTP with real worker processes."""

import asyncio
import os
import signal
from typing import Any

import pytest

from common.errors import ConfigurationError, PreflightError
from envhub.config import HubConfig
from envhub.serving import serving
from tests.envhub.browser import TASK, hub


async def test_an_episode_is_played_from_creation_to_success() -> None:
    async with hub(environments=["guess_number"]) as (_, browse):
        status, opening = await browse("POST", "/v1/sessions", TASK)
        assert status == 200
        assert set(opening) == {"session", "instructions", "observation", "horizon"}
        path = f"/v1/sessions/{opening['session']}"
        low, high, index = 1, 64, 0
        while True:
            middle = (low + high) // 2
            status, result = await browse.step(opening["session"], index, f"guess {middle}")
            assert status == 200
            assert (await browse("GET", f"{path}/observation"))[1] == {"observation": result["observation"]}
            if result["is_terminated"]:
                break
            low, high = (middle + 1, high) if result["observation"] == "Higher." else (low, middle - 1)
            index += 1
        assert result == {
            "observation": "Correct.",
            "reward": 1.0,
            "is_terminated": True,
            "is_success": True,
            "score": 1.0,
            "is_malformed": False,
            "is_truncated": False,
        }
        assert (await browse("GET", f"{path}/actions"))[0] == 200
        assert "Hidden" in (await browse("GET", f"{path}/render"))[1]["render"]
        assert await browse("DELETE", path) == (200, {"closed": True})
        assert await browse.refused(404, "DELETE", path) == "unknown_session"


async def test_bad_input_is_answered_with_its_code() -> None:
    async with hub(max_body_bytes=2048) as (_, browse):
        session = await browse.open()
        step = f"/v1/sessions/{session}/step"
        refused = browse.refused
        assert (
            await refused(404, "POST", "/v1/sessions", {**TASK, "environment": "x"}) == "unknown_environment"
        )
        assert await refused(404, "POST", "/v1/sessions", {**TASK, "task": "x"}) == "unknown_task"
        for wrong in (
            {"seed": 2**70},
            {"action_format": "xml"},
            {"task": 3},
            {"more": 1},
            {"task": "\ud800"},
        ):
            assert await refused(400, "POST", "/v1/sessions", {**TASK, **wrong}) == "bad_request"
        for body in ([], {}, {"index": -1, "action": ""}, {"index": 0}, {"index": "x", "action": ""}):
            assert await refused(400, "POST", step, body) == "bad_request"
        assert await refused(400, "POST", step, data=b"{", headers={"Content-Type": "application/json"})
        assert await refused(400, "POST", step, data=b"{}", headers={"Content-Type": "text/plain"})
        assert await refused(413, "POST", step, {"index": 0, "action": "a" * 4096}) == "too_large"
        assert await refused(409, "POST", step, {"index": 1, "action": "guess 1"}) == "wrong_index"
        assert (
            await refused(404, "POST", "/v1/sessions/none/step", {"index": 0, "action": ""})
            == "unknown_session"
        )
        assert await refused(404, "GET", "/v2") == "unknown_path"
        assert await refused(405, "PUT", "/v1/sessions") == "bad_request"
        assert await refused(400, "GET", "/v1/environments/textcraft/tasks?split=dev") == "bad_request"
        assert await refused(400, "GET", "/v1/environments/textcraft/tasks?depths=a") == "bad_request"
        assert await refused(404, "GET", "/v1/environments/x/vocabulary") == "unknown_environment"
        assert (await browse.step(session, 0, "guess 1"))[0] == 200


async def test_catalogues_list_tasks_with_their_depths() -> None:
    async with hub() as (_, browse):
        _, listed = await browse("GET", "/v1/environments")
        assert {"textcraft", "guess_number"} <= {row["name"] for row in listed["environments"]}
        _, answer = await browse("GET", "/v1/environments/textcraft/tasks?split=test&depths=4,3&limit=5")
        assert len(answer["tasks"]) == 5
        assert {task["depth"] for task in answer["tasks"]} <= {3, 4}


async def test_a_retried_turn_is_answered_and_not_played_twice() -> None:
    async with hub() as (_, browse):
        session = await browse.open()
        answers = [await browse.step(session, 0, "guess 1") for _ in range(3)]
        assert answers[0] == answers[1] == answers[2]
        assert (await browse.step(session, 1, "guess 2"))[0] == 200
        assert (await browse.step(session, 0, "guess 1"))[0] == 409


async def test_a_batch_answers_every_step_in_its_place() -> None:
    async with hub(num_workers=2) as (_, browse):
        sessions = [await browse.open(seed=seed) for seed in range(4)]
        steps = [{"session": s, "index": 0, "action": "nonsense"} for s in (*sessions, "none")]
        status, answer = await browse("POST", "/v1/step", {"steps": steps})
        assert status == 200
        assert [row["session"] for row in answer["results"]] == [*sessions, "none"]
        assert all(row["is_malformed"] for row in answer["results"][:4])
        assert answer["results"][4]["error"]["code"] == "unknown_session"


async def test_sixty_four_sessions_play_one_task_side_by_side() -> None:
    async with hub(num_workers=2) as (server, browse):

        async def play() -> list[str]:
            session = await browse.open(environment="textcraft", task="textcraft_oak_boat")
            shown = []
            for index, action in enumerate(("get 2 oak logs", "craft 4 oak planks using 1 oak logs") * 2):
                status, result = await browse.step(session, index, action)
                assert status == 200
                shown.append(result["observation"])
            return shown

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(play()) for _ in range(64)]
        assert len({tuple(task.result()) for task in tasks}) == 1
        assert len(server.sessions) == 64
        assert {len(worker.sessions) for worker in server.pools["textcraft"].living} == {32}


async def test_one_session_too_many_is_told_to_come_back() -> None:
    async with hub(max_sessions=2) as (_, browse):
        first, _ = await browse.open(), await browse.open()
        async with browse._http.post(browse._url + "/v1/sessions", json=TASK) as response:
            assert response.status == 503
            assert int(response.headers["Retry-After"]) >= 1
            assert (await response.json())["error"]["code"] == "hub_full"
        await browse("DELETE", f"/v1/sessions/{first}")
        await browse.open()


async def test_an_untouched_session_ends_after_its_time_to_live() -> None:
    now = [1000.0]
    async with hub(clock=lambda: now[0], session_ttl_s=60) as (server, browse):
        used, idle = await browse.open(), await browse.open()
        now[0] += 50
        await browse.step(used, 0, "guess 1")
        now[0] += 20
        assert await server.sessions.sweep() == 1
        assert (await browse.step(used, 1, "guess 2"))[0] == 200
        assert (await browse.step(idle, 0, "guess 1"))[0] == 404
        assert len(server.sessions) == 1


async def test_a_killed_worker_loses_its_sessions_only_and_is_replaced() -> None:
    async with hub(num_workers=2) as (server, browse):
        sessions = [await browse.open(seed=seed) for seed in range(4)]
        victim = server.pools["guess_number"].living[0]
        lost = set(victim.sessions)
        os.kill(victim.pid, signal.SIGKILL)
        for session in sessions:
            status, answer = await browse.step(session, 0, "guess 1")
            if session in lost:
                assert (status, answer["error"]["code"]) == (410, "worker_died")
            else:
                assert status == 200
        assert len(server.sessions) == 2
        await server.pools["guess_number"].all_up()
        assert victim.pid not in {worker.pid for worker in server.pools.living}
        assert (await browse.step(await browse.open(), 0, "guess 1"))[0] == 200


async def test_a_hung_worker_is_killed_at_its_deadline_and_replaced() -> None:
    async with hub(step_timeout_s=0.5) as (server, browse):
        session, other = await browse.open(), await browse.open()
        victim = server.pools["guess_number"].living[0]
        os.kill(victim.pid, signal.SIGSTOP)
        status, answer = await browse.step(session, 0, "guess 1")
        assert (status, answer["error"]["code"]) == (410, "worker_hung")
        assert await browse.refused(410, "GET", f"/v1/sessions/{other}/observation") == "worker_hung"
        await server.pools["guess_number"].all_up()
        assert (await browse.step(await browse.open(), 0, "guess 1"))[0] == 200


async def test_no_worker_outlives_its_hub() -> None:
    async with hub(num_workers=2) as (server, browse):
        await browse.open()
        processes = [worker.pid for worker in server.pools.living]
    for process in processes:
        with pytest.raises(ProcessLookupError):
            os.kill(process, 0)


async def test_a_draining_hub_opens_no_sessions_and_finishes_the_others() -> None:
    async with hub() as (server, browse):
        session = await browse.open()
        server.sessions.is_draining = True
        assert await browse.refused(503, "POST", "/v1/sessions", TASK) == "hub_draining"
        assert (await browse.step(session, 0, "guess 1"))[0] == 200
        assert (await browse("GET", "/healthz"))[1]["status"] == "draining"


async def test_a_taken_port_is_one_clear_line() -> None:
    async with hub() as (server, _):
        port = int(server.url.rpartition(":")[2])
        with pytest.raises(PreflightError, match=f"hub.port = {port}: cannot listen there"):
            async with serving(HubConfig(port=port)):
                pass


async def test_metrics_count_sessions_steps_and_refusals() -> None:
    async with hub() as (_, browse):
        session = await browse.open()
        await browse.step(session, 0, "guess 1")
        await browse.step("none", 0, "guess 1")
        lines = (await browse.text("/metrics")).splitlines()
        assert 'pronghorn_hub_sessions{environment="guess_number"} 1' in lines
        assert 'pronghorn_hub_sessions_opened_total{environment="guess_number"} 1' in lines
        assert 'pronghorn_hub_refusals_total{code="unknown_session"} 1' in lines
        assert 'pronghorn_hub_step_seconds_bucket{environment="guess_number",le="+Inf"} 1' in lines
        assert 'pronghorn_hub_step_seconds_count{environment="guess_number"} 1' in lines


async def test_an_environment_speaks_its_dialect_below_its_name_and_on_a_port_of_its_own() -> None:
    async with hub(ports={"guess_number": 0}) as (server, browse):
        for url in (
            f"{server.url}/guess_number",
            f"{server.url}/guess_number/",
            server.own_urls["guess_number"],
        ):
            async with browse._http.post(f"{url}/create") as response:
                created = await response.json()
            body = {"id": created["id"], "data_idx": 3}
            async with browse._http.post(f"{url}/reset", json=body) as response:
                assert "I think of a number" in (await response.json())["observation"]


@pytest.mark.parametrize(
    "settings",
    [{"ports": {"maze": 0}}, {"pools": {"maze": {}}}, {"dialects": {"maze": "A"}}],
    ids=lambda settings: next(iter(settings)),
)
async def test_settings_of_what_is_not_served_are_a_mistake(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="'maze' is not served; there are guess_number"):
        async with serving(HubConfig(environments=("guess_number",), **settings)):
            pass


async def test_the_hub_describes_itself() -> None:
    async with hub() as (_, browse):
        _, description = await browse("GET", "/openapi.json")
        assert "/v1/sessions/{session}/step" in description["paths"]
        assert "guess_number" in await browse.text("/docs")
        assert "guess_number" in await browse.text("/")
        _, row = await browse("GET", "/v1/environments/guess_number")
        assert (row["num_train"], row["has_expert"]) == (80, True)
        assert (await browse("GET", "/v1/environments/guess_number/indexed/81"))[1]["split"] == "test"
        refused = browse.refused
        path = "/v1/environments/guess_number"
        assert await refused(404, "GET", f"{path}/indexed/100") == "unknown_task"
        assert await refused(400, "GET", f"{path}/indexed/x") == "bad_request"
        assert await refused(404, "GET", f"{path}/tasks/number-100") == "unknown_task"
        session = await browse.open()
        assert await refused(404, "GET", f"/v1/sessions/{session}/picture") == "no_picture"
        assert (await browse("GET", f"/v1/sessions/{session}/detail"))[0] == 200


@pytest.mark.parametrize(
    ("action_format", "text", "unread"),
    [
        ("plain", "guess 5\n", "guess 5\nguess 6"),
        ("react", "Thought: low.\nAction: guess 5", "guess 5"),
        (
            "function_calling",
            '{"thought": "", "function_name": "guess", "arguments": {"number": 5}}',
            "guess 5",
        ),
        ("code_as_action", "```python\n# low\nguess(5)\n```", "guess(5)"),
    ],
)
async def test_the_hub_reads_the_policys_text_when_it_is_asked_to(
    action_format: str, text: str, unread: str
) -> None:
    async with hub() as (_, browse):
        session = await browse.open(action_format=action_format)
        path = f"/v1/sessions/{session}/step"
        status, result = await browse("POST", path, {"index": 0, "action": unread, "is_text": True})
        assert (status, result["is_malformed"]) == (200, True)
        status, result = await browse("POST", path, {"index": 1, "action": text, "is_text": True})
        assert (status, result["is_malformed"]) == (200, False)
        batch = {"steps": [{"session": session, "index": 2, "action": text, "is_text": True}]}
        _, answer = await browse("POST", "/v1/step", batch)
        assert not answer["results"][0]["is_malformed"]
