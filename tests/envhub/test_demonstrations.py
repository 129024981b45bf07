"""AgentTraj files: what the expert plays is written, read back, and refused when it is broken."""

import json
from pathlib import Path
from typing import Any

import pytest

from common import agenttraj
from common.action_format import ACTION_FORMATS, CALL_FORMATS, parse
from common.calls import read
from common.errors import ConfigurationError, EnvironmentFault
from common.trajectory import TaskReference
from docs.sort_letters import SortingEpisode, SortLetters
from envhub import registry
from envhub.demonstrations import write_demonstrations
from envhub.environment import ExpertMove

closed: list[str] = []


class Watched(SortLetters):
    """Notes which episodes are closed; hints at nothing, and its expert fails at two tasks."""

    def reset(self, task: str, seed: int) -> SortingEpisode:
        return WatchedEpisode(self.task(task).name.removeprefix("sort-"))


class WatchedEpisode(SortingEpisode):
    def __init__(self, letters: str) -> None:
        super().__init__(letters)
        self.letters = letters

    def actions(self) -> tuple[str, ...]:
        return ()

    def expert(self) -> ExpertMove:
        if self.letters == "bacde":
            raise EnvironmentFault("the expert broke down")
        return ExpertMove(action="swap 1") if self.letters == "cabde" else super().expert()

    def close(self) -> None:
        closed.append(self.letters)


HUMAN = {"from": "human", "loss": None, "value": "see"}
GPT = {"from": "gpt", "loss": True, "value": "act"}


def reference(environment: str, task: str, seed: int = 0) -> TaskReference:
    return TaskReference(environment=environment, task=task, seed=seed)


# Their episodes take seconds, and a wrong move in SciWorld can lose one for good.
CHEAP = sorted({*registry.names()} - {"alfworld_textworld", "sciworld"})


@pytest.mark.parametrize("name", CHEAP)
@pytest.mark.parametrize("action_format", ACTION_FORMATS)
@pytest.mark.parametrize("wander", [0.0, 0.5])
def test_replaying_what_was_written_wins(
    tmp_path: Path, name: str, action_format: str, wander: float
) -> None:
    environment = registry.environment(name)
    path = tmp_path / "data" / "expert.json"
    tasks = [reference(name, task.name, seed=5) for task in environment.tasks("train")[:5]]
    assert write_demonstrations(tasks, action_format, path, wander=wander) == 5
    rows = agenttraj.read(path)
    assert [row.item_id for row in rows] == [task.task for task in tasks]
    for row in rows:
        assert row.instructions == environment.instructions(action_format)
        episode = environment.reset(row.item_id, 5)
        for observation, text, is_learnt in row.turns:
            assert is_learnt
            assert episode.observation == observation
            action = parse(text, action_format)
            assert action is not None
            call = read(action) if action_format in CALL_FORMATS else None
            result = episode.step(environment.functions.action(call) if call else action)
        assert result.is_success


def test_the_file_has_agentgyms_form(tmp_path: Path) -> None:
    path = tmp_path / "expert.json"
    write_demonstrations([reference("guess_number", "number-001")], "react", path)
    (row,) = json.loads(path.read_text())
    assert set(row) == {"conversations", "item_id"}
    speakers = [(part["from"], part["loss"]) for part in row["conversations"]]
    assert speakers[:4] == [("human", None), ("gpt", False), ("human", None), ("gpt", True)]
    assert row["conversations"][1]["value"] == agenttraj.ACKNOWLEDGEMENT


def test_a_distracted_expert_takes_longer_and_the_same_way_again(tmp_path: Path) -> None:
    tasks = [reference("textcraft_workshop", "d3-tin-window", seed) for seed in range(20)]
    lengths = {}
    for wander in (0.0, 0.5):
        write_demonstrations(tasks, "plain", tmp_path / "a.json", wander=wander)
        write_demonstrations(tasks, "plain", tmp_path / "b.json", wander=wander)
        assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
        lengths[wander] = sum(len(row.conversations) for row in agenttraj.read(tmp_path / "a.json"))
    assert lengths[0.5] > 1.4 * lengths[0.0]


def test_without_instructions_there_is_no_acknowledgement(tmp_path: Path) -> None:
    path = tmp_path / "expert.json"
    write_demonstrations([reference("textcraft_generated", "d1-000001")], "plain", path)
    (row,) = agenttraj.read(path)
    assert all(part.is_learnt == (part.speaker == "gpt") for part in row.conversations)


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        (7, "expected a JSON array or JSON lines"),
        ({}, "row 0: conversations: Field required"),
        ([{"conversations": [HUMAN, GPT]}], "row 0: item_id: Field required"),
        ([{"conversations": [HUMAN, GPT], "item_id": "a"}, 7], "row 1: row: "),
        ([{"conversations": [GPT, HUMAN], "item_id": "a"}], "human and gpt must take turns"),
        (
            [{"conversations": [HUMAN, GPT, HUMAN], "item_id": "a"}],
            "human and gpt must take turns",
        ),
        ([{"conversations": [], "item_id": "a"}], "row 0: conversations"),
        (
            [{"conversations": [{**HUMAN, "from": "system"}, GPT], "item_id": "a"}],
            "conversations.0.from",
        ),
        ([{"conversations": [HUMAN, {**GPT, "value": 3}], "item_id": "a"}], "conversations.1.value"),
    ],
)
def test_a_broken_row_is_named_with_its_reason(tmp_path: Path, rows: Any, reason: str) -> None:
    path = tmp_path / "broken.json"
    path.write_text(json.dumps(rows))
    with pytest.raises(ConfigurationError, match=reason) as caught:
        agenttraj.read(path)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_or_not_json_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no such file"):
        agenttraj.read(tmp_path / "none.json")
    (tmp_path / "torn.json").write_text("[{")
    with pytest.raises(ConfigurationError, match="torn"):
        agenttraj.read(tmp_path / "torn.json")


def test_an_interrupted_writer_leaves_no_half_file(tmp_path: Path) -> None:
    path = tmp_path / "expert.json"
    write_demonstrations([reference("guess_number", "number-001")], "plain", path)
    before = path.read_text()
    tasks = [reference("guess_number", name) for name in ("number-002", "nothing")]
    with pytest.raises(ConfigurationError):
        write_demonstrations(tasks, "plain", path)
    assert path.read_text() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(("letters", "why"), [("bacde", "broke down"), ("cabde", "did not succeed")])
def test_an_episode_is_closed_when_its_expert_fails_too(tmp_path: Path, letters: str, why: str) -> None:
    closed.clear()
    path = tmp_path / "expert.json"
    with pytest.raises(EnvironmentFault, match=why):
        write_demonstrations([reference(f"python:{__name__}:Watched", f"sort-{letters}")], "plain", path)
    assert closed == [letters]
    assert not path.exists()


def test_a_few_tasks_that_the_expert_loses_are_left_out_and_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    names = [task.name for task in SortLetters().tasks("train")[:12] if task.name != "sort-bacde"]
    tasks = [reference(f"python:{__name__}:Watched", name) for name in [*names, "sort-cabde"]]
    assert write_demonstrations(tasks, "plain", tmp_path / "expert.json") == len(names)
    assert "expert did not succeed" in caplog.text
    assert "sort-cabde" in caplog.text


def test_who_wanders_where_nothing_is_hinted_at_goes_the_experts_way(tmp_path: Path) -> None:
    closed.clear()
    tasks = [reference(f"python:{__name__}:Watched", "sort-edcba")]
    assert write_demonstrations(tasks, "plain", tmp_path / "expert.json", wander=1.0) == 1
    assert closed == ["edcba"]
