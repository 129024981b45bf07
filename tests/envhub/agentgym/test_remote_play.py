"""What servers of AgentGym answer, as hints, rewards and ends; and what they are sent."""

import asyncio
from typing import Any

import pytest

from envhub.agentgym.backend import AgentGymBackend
from envhub.environment import StepResult
from tests.envhub.agentgym.faulty import begin_and_step, faulty


async def test_hints_outside_the_grammar_are_left_out() -> None:
    async with faulty() as (_, url):
        environment = AgentGymBackend(f"alfworld@{url}")
        episode = await asyncio.to_thread(environment.reset, "alfworld_2420", 0)
        assert episode.actions() == ("look",)
        await asyncio.to_thread(episode.close)


@pytest.mark.parametrize(
    ("world", "replies", "rewards"),
    [
        # The score of SciWorld falls below nothing when the task is lost.
        ("sciworld", [(0, 50, False), (0, -100, True)], [0.5, -0.5]),
        ("sciworld", [(0, 50, False), (0, 100, True)], [0.5, 0.5]),
        # BabyAI counts a late success again in every further step.
        ("babyai", [(0.4, 0.4, False), (0.4, 0.8, False), (0.4, 1.2, True)], [0.4, 0.4, 0.2]),
        # Tools tell the progress so far in every step.
        ("movie", [(0.5, 0, False), (0.5, 0, False), (1.0, 0, True)], [0.5, 0.0, 0.5]),
    ],
)
async def test_the_rewards_of_an_episode_sum_to_the_share_of_the_full_score(
    world: str, replies: list[tuple[float, float, bool]], rewards: list[float]
) -> None:
    mutable: dict[str, Any] = {"reset": {"task_description": "Do it.", "observation": "so"}}

    def play(environment: AgentGymBackend) -> list[StepResult]:
        episode = environment.reset(environment.indexed(0).name, 0)
        results = []
        for reward, score, done in replies:
            mutable["step"] = {"observation": "so", "reward": reward, "score": score, "done": done}
            results.append(episode.step("look"))
        return results

    async with faulty(replies=mutable) as (_, url):
        results = await asyncio.to_thread(play, AgentGymBackend(f"{world}@{url}"))
    assert [result.reward for result in results] == pytest.approx(rewards)
    assert [result.is_over for result in results] == [done for _, _, done in replies]
    assert results[-1].is_success is (results[-1].score > 0)


@pytest.mark.parametrize(
    ("world", "reply", "ends"),
    [
        ("maze", {"observation": "Failure", "reward": -1.0, "done": True}, (False, True, False)),
        ("maze", {"observation": "Success", "reward": 1, "done": True}, (True, False, True)),
        (
            "webarena",
            {"observation": "", "reward": 0, "terminated": False, "truncated": True},
            (False, True, False),
        ),
        (
            "webarena",
            {"observation": "", "reward": 0, "terminated": True, "truncated": False},
            (True, False, False),
        ),
    ],
)
async def test_running_out_of_turns_is_no_failure(world: str, reply: Any, ends: tuple[bool, ...]) -> None:
    async with faulty(replies={"step": reply}) as (_, url):
        result = await asyncio.to_thread(begin_and_step, f"{world}@{url}")
    assert (result.is_terminated, result.is_truncated, result.is_success) == ends


@pytest.mark.parametrize(
    ("world", "action", "sent"),
    [
        (
            "movie",
            "finish with Action Input: {'answer': 1}",
            "Action: finish with Action Input: {'answer': 1}",
        ),
        ("movie", "Action: finish with Action Input: {}", "Action: finish with Action Input: {}"),
        ("webarena", "click [3]", "```click [3]```"),
        ("sqlgym", "So:\n```sql\nSELECT 1\n```", "SELECT 1"),
        ("sqlgym", "SELECT 1", "SELECT 1"),
        ("textcraft", "get 1 \ud800", "get 1 ?"),
    ],
)
async def test_actions_are_sent_as_the_servers_read_them(world: str, action: str, sent: str) -> None:
    reply = {"observation": "so", "state": "so", "reward": 0, "done": False, "terminated": False}
    async with faulty(replies={"step": reply}) as (server, url):
        await asyncio.to_thread(begin_and_step, f"{world}@{url}", action)
        (body,) = [body for path, body in server.asked if path == "step"]
        assert body["action"] == sent
