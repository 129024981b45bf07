"""Sessions and the worker's side of them: no turn played twice, every failure a refusal."""

from typing import Any

import pytest

from common.errors import ConfigurationError, EnvironmentFault, PreflightError
from common.trajectory import TaskReference
from envhub.environment import Environment, Episode, ExpertMove, StepResult
from envhub.functions import Functions
from envhub.local import LocalHub
from envhub.refusal import HubRefusal
from envhub.registry import environment
from envhub.session import Session
from envhub.task import Split, Task
from envhub.worker import SessionHost

TASK = TaskReference(environment="guess_number", task="number-001")


class BrokenEpisode(Episode):
    observation = "fine so far"

    def step(self, action: str) -> StepResult:
        raise KeyError("/secret/path")

    def actions(self) -> tuple[str, ...]:
        return ()

    def expert(self) -> ExpertMove:
        raise RuntimeError

    def render(self) -> str:
        raise RuntimeError


class BrokenEnvironment(Environment):
    """Its tasks exist; playing them raises."""

    name = "broken"
    horizon = 3
    functions = Functions()

    def __init__(self, breaks_on_reset: bool = False) -> None:
        self._breaks_on_reset = breaks_on_reset

    def tasks(self, split: Split) -> tuple[Task, ...]:
        raise OSError("disk")

    def task(self, name: str) -> Task:
        return Task(name=name, split="train")

    def reset(self, task: str, seed: int) -> BrokenEpisode:
        if self._breaks_on_reset:
            raise OSError("disk")
        return BrokenEpisode()

    def instructions(self, action_format: str) -> str:
        return ""

    def vocabulary(self) -> tuple[str, ...]:
        return ()


def find(name: str) -> Environment:
    if name == "missing":
        raise PreflightError("the package behind it is missing")
    if name.startswith("broken"):
        return BrokenEnvironment(breaks_on_reset=name == "broken-reset")
    return environment(name)


def new_session() -> Session:
    return Session(environment("guess_number"), TASK, "plain")


def test_a_repeated_turn_is_answered_from_memory_and_not_played_twice() -> None:
    session = new_session()
    first = session.step(0, "guess 1")
    assert session.step(0, "guess 1") == first
    hints = session.actions()
    second = session.step(1, "guess 64")
    once = session.actions()
    assert session.step(1, "guess 64") == second
    assert len(hints) > len(once) == len(session.actions())


def test_a_turn_out_of_order_is_refused_and_changes_nothing() -> None:
    session = new_session()
    for index, action in ((1, "guess 1"), (7, "guess 1")):
        with pytest.raises(HubRefusal, match=f"index = {index}: the next turn of this session is 0"):
            session.step(index, action)
    session.step(0, "guess 1")
    session.step(1, "guess 2")
    with pytest.raises(HubRefusal) as refused:
        session.step(0, "guess 1")
    assert refused.value.code == "wrong_index"


def test_the_same_turn_with_another_action_is_refused() -> None:
    session = new_session()
    session.step(0, "guess 1")
    with pytest.raises(HubRefusal) as refused:
        session.step(0, "guess 2")
    assert refused.value.code == "wrong_index"


def test_a_turn_after_the_end_is_refused_but_the_last_can_be_repeated() -> None:
    session = new_session()
    turn, action, result = 0, "", StepResult(observation="")
    while not result.is_terminated:
        action = session.expert().action
        result = session.step(turn, action)
        turn += 1
    assert session.step(turn - 1, action) == result
    with pytest.raises(HubRefusal) as refused:
        session.step(turn, "guess 1")
    assert refused.value.code == "episode_over"


def test_an_unknown_task_or_format_is_a_mistake_and_not_a_fault() -> None:
    with pytest.raises(ConfigurationError, match="no such task"):
        Session(environment("guess_number"), TASK.model_copy(update={"task": "nothing"}), "plain")
    with pytest.raises(ConfigurationError, match="action_format"):
        Session(environment("guess_number"), TASK, "xml")


def answer(host: SessionHost, operation: str, *arguments: Any) -> tuple[str, Any]:
    number, code, result = host.handle([7, operation, list(arguments)])
    assert number == 7
    return code, result


def opened(host: SessionHost, name: str, task: str = "number-001") -> tuple[str, Any]:
    return answer(host, "create", "id", {"environment": name, "task": task, "seed": 0}, "plain")


def test_an_environment_that_raises_is_a_fault_without_its_secrets() -> None:
    host = SessionHost(find)
    assert opened(host, "broken")[0] == ""
    assert answer(host, "step", "id", 0, "go") == ("environment_fault", "the environment raised KeyError")
    assert answer(host, "step", "id", 0, "go")[0] == "unknown_session"


def test_an_environment_that_raises_anywhere_never_ends_its_worker() -> None:
    host = SessionHost(find)
    assert opened(host, "broken-reset") == ("environment_fault", "the environment raised OSError")
    assert answer(host, "tasks", "broken", "train", [], 0)[0] == "environment_fault"
    opened(host, "broken")
    assert answer(host, "render", "id")[0] == "environment_fault"


def test_refusals_say_what_is_unknown() -> None:
    host = SessionHost(find)
    assert opened(host, "nothing")[0] == "unknown_environment"
    assert opened(host, "guess_number", "nothing")[0] == "unknown_task"
    assert opened(host, "missing") == ("environment_unavailable", "the package behind it is missing")
    assert answer(host, "tasks", "guess_number", "dev", [], 0)[0] == "bad_request"
    assert answer(host, "observation", "nobody")[0] == "unknown_session"


def test_tasks_are_chosen_by_depth_and_limit_in_their_frozen_order() -> None:
    code, rows = answer(SessionHost(), "tasks", "textcraft_generated", "test", [2, 4], 3)
    assert code == ""
    assert [row["name"] for row in rows] == ["d2-900000", "d4-900000", "d2-900001"]


async def test_the_local_hub_offers_what_the_http_hub_offers() -> None:
    async with LocalHub() as hub:
        assert await hub.healthy(1.0)
        tasks = await hub.tasks("guess_number", "train", limit=2)
        assert tasks == [TaskReference(environment="guess_number", task=f"number-00{n}") for n in (0, 1)]
        assert "guess" in await hub.vocabulary("guess_number")
        session = await hub.create(tasks[0], "plain")
        assert (await session.step("nonsense")).is_malformed
        await session.close()


async def test_the_local_hub_turns_every_failure_into_a_fault() -> None:
    async with LocalHub() as hub:
        with pytest.raises(EnvironmentFault, match="did you mean"):
            await hub.create(TASK.model_copy(update={"environment": "guess"}), "plain")
        with pytest.raises(EnvironmentFault, match="no such task"):
            await hub.create(TASK.model_copy(update={"task": "x"}), "plain")
        with pytest.raises(EnvironmentFault, match="split = 'dev'"):
            await hub.tasks("guess_number", "dev")
