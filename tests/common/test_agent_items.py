"""AgentTraj, AgentEval and id files are told apart, read back as written, and turned into each other."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common import agent_items, agenttraj
from common.agent_items import AgentItem, read_any
from common.errors import ConfigurationError

ALFWORLD = "pick_heat_then_place_in_recep-Egg-None-Fridge-2_trial_T20190907_174127_043461"
HUMAN = {"from": "human", "loss": None, "value": "what you see"}
GPT = {"from": "gpt", "loss": True, "value": "go"}
TEXTS = st.text(min_size=1, max_size=20)


def rows_of(path: Path) -> Any:
    return json.loads(path.read_text())


@settings(max_examples=40, deadline=None)
@given(
    turns=st.lists(st.tuples(TEXTS, TEXTS, st.sampled_from([True, False, None])), min_size=1, max_size=4),
    layout=st.sampled_from(["array", "lines"]),
    reward=st.none() | st.floats(-1, 100),
)
def test_trajectories_with_loss_flags_are_read_back_as_written(tmp_path_factory, turns, layout, reward):
    path = tmp_path_factory.mktemp("rows") / "rows.json"
    parts: list[dict[str, Any]] = []
    for observation, action, loss in turns:
        parts += [{**HUMAN, "value": observation}, {"from": "gpt", "loss": loss, "value": action}]
    written = {"conversations": parts, "item_id": ALFWORLD} | ({} if reward is None else {"reward": reward})
    row = agenttraj.Demonstration.model_validate(written)
    agent_items.write(path, "agenttraj", [row], layout)
    form, kept = read_any(path)
    assert (form, kept.rows) == ("agenttraj", (row,))
    assert json.loads(path.read_text().strip("[]\n")) == written
    learnt = [part.is_learnt for part in row.conversations if part.speaker == "gpt"]
    assert learnt == [loss is not False for _, _, loss in turns]


@pytest.mark.parametrize("conversations", [None, []])
def test_items_of_agenteval_have_null_or_an_empty_list(tmp_path: Path, conversations: Any) -> None:
    path = tmp_path / "webshop_test.json"
    path.write_text(json.dumps([{"conversations": conversations, "item_id": "webshop_5238"}]))
    form, kept = read_any(path)
    assert form == "agenteval"
    assert [row.item_id for row in kept.rows] == ["webshop_5238"]
    agent_items.write(tmp_path / "again.json", form, kept.rows)
    assert rows_of(tmp_path / "again.json") == [{"conversations": None, "item_id": "webshop_5238"}]


def test_bare_ids_stay_text(tmp_path: Path) -> None:
    path = tmp_path / "ids.jsonl"
    agent_items.write(path, "ids", [AgentItem(item_id=ALFWORLD), AgentItem(item_id="007")], "lines")
    assert path.read_text() == f'{{"item_id": "{ALFWORLD}"}}\n{{"item_id": "007"}}\n'
    form, kept = read_any(path)
    assert (form, [row.item_id for row in kept.rows]) == ("ids", [ALFWORLD, "007"])


def test_trajectories_become_items_and_ids_and_never_the_other_way(tmp_path: Path) -> None:
    row = agenttraj.Demonstration.model_validate({"conversations": [HUMAN, GPT], "item_id": "maze_3"})
    agent_items.write(tmp_path / "eval.json", "agenteval", [row])
    agent_items.write(tmp_path / "ids.json", "ids", [row])
    assert rows_of(tmp_path / "eval.json") == [{"conversations": None, "item_id": "maze_3"}]
    assert rows_of(tmp_path / "ids.json") == [{"item_id": "maze_3"}]
    with pytest.raises(ValueError, match="item_id = 'maze_3': has no texts"):
        agent_items.write(tmp_path / "no.json", "agenttraj", [AgentItem(item_id="maze_3")])
    assert not (tmp_path / "no.json").exists()


BROKEN = [
    ({"item_id": 5}, "item_id = '5': Input should be a valid string"),
    ({"item_id": ""}, "item_id = '': String should have at least 1 character"),
    ({"id": "a"}, "item_id: Field required"),
    ({"item_id": "a", "idx": 1}, "idx = '1': unknown key"),
    ({"item_id": "a", "conversations": None}, "is agenteval; the file began as ids"),
    ({"item_id": "a", "conversations": [HUMAN, GPT]}, "is agenttraj; the file began as ids"),
    ({"item_id": "a", "conversations": [HUMAN]}, "conversations: Tuple should have at least 2 items"),
    ({"item_id": "a", "conversations": [GPT, HUMAN]}, "row: human and gpt must take turns"),
    ({"item_id": "a", "conversations": "text"}, "conversations = 'text'"),
    ({"item_id": "a", "conversations": [HUMAN, {**GPT, "loss": "maybe"}]}, "conversations.1.loss = 'maybe'"),
    ({"item_id": "a", "conversations": [HUMAN, {"from": "gpt"}]}, "conversations.1.value: Field required"),
    ("a", "row: Input should be a valid dictionary"),
]


@pytest.mark.parametrize(("row", "reason"), BROKEN)
def test_a_broken_row_is_named_and_the_rest_kept_or_all_refused(
    tmp_path: Path, row: Any, reason: str
) -> None:
    path = tmp_path / "ids.jsonl"
    path.write_text(
        "\n".join(json.dumps(value) for value in ({"item_id": "first"}, row, {"item_id": "last"}))
    )
    form, kept = read_any(path, "skip")
    assert form == "ids"
    assert [kept_row.item_id for kept_row in kept.rows] == ["first", "last"]
    assert f"line 2: row 1: {reason}" in str(kept.faults[0])
    with pytest.raises(ConfigurationError, match="line 2: row 1") as caught:
        read_any(path)
    assert "\n" not in str(caught.value)
