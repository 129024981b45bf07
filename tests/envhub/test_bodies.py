"""What clients send: much that is wrong costs little, and what no wire carries does not get in."""

import json
import time
from typing import Any

import pytest

from common.config import validate
from common.errors import ConfigurationError
from envhub.bodies import BatchBody, CreateBody, StepBody, TaskQuery

STEP = {"index": 0, "action": "", "session": "a"}


def refusal(kind: Any, values: dict[str, Any]) -> str:
    """The one line, told within a fraction of the seconds that a mistake for each item would take."""
    began = time.process_time()
    with pytest.raises(ConfigurationError) as caught:
        validate(kind, values)
    assert time.process_time() - began < 1.0
    text = str(caught.value)
    assert "\n" not in text
    assert len(text) < 3000
    return text


@pytest.mark.parametrize("item", [1, {}, {"session": 1}, None, "x", {"index": 0, "action": ""}])
def test_half_a_million_wrong_steps_are_one_mistake(item: Any) -> None:
    assert refusal(BatchBody, {"steps": [item] * 500_000}).startswith("steps.0")


def test_half_a_million_unknown_fields_are_one_mistake_wherever_they_stand() -> None:
    many = {f"field{index}": index for index in range(500_000)}
    for kind, values in (
        (StepBody, {**STEP, **many}),
        (CreateBody, many),
        (BatchBody, {"steps": [{**STEP, **many}]}),
        (TaskQuery, many),
    ):
        assert "fields: an object has at most 64" in refusal(kind, values)


def test_half_a_million_wrong_depths_are_one_mistake() -> None:
    assert refusal(TaskQuery, {"depths": "x," * 500_000}).startswith("depths.0 = 'x'")
    assert "1000" in refusal(TaskQuery, {"depths": "1," * 500_000})


def test_a_batch_of_as_many_right_steps_as_allowed_is_read() -> None:
    assert len(validate(BatchBody, {"steps": [STEP] * 4096}).steps) == 4096
    assert "4096" in refusal(BatchBody, {"steps": [STEP] * 4097})


@pytest.mark.parametrize(("sent", "read"), [("\ud800", "?"), ("a\udfffb", "a?b"), ("木", "木"), ("", "")])
def test_half_a_surrogate_pair_in_an_action_becomes_a_question_mark(sent: str, read: str) -> None:
    assert validate(StepBody, {"index": 0, "action": sent}).action == read
    assert validate(BatchBody, {"steps": [{**STEP, "action": sent}]}).steps[0].action == read


@pytest.mark.parametrize("field", ["task", "environment"])
def test_half_a_surrogate_pair_in_a_name_is_a_mistake(field: str) -> None:
    values = {"environment": "maze", "task": "maze_1", field: "\ud800"}
    assert refusal(CreateBody, values).startswith(f"{field} = ")


def test_numbers_fit_into_what_carries_them() -> None:
    query = validate(TaskQuery, {"limit": str(2**31 - 1), "depths": f"0,{2**31 - 1}"})
    assert query.limit == query.depths[1] == 2**31 - 1
    for wrong in (2**31, 2**63, 2**70, -1):
        assert refusal(TaskQuery, {"limit": str(wrong)}).startswith("limit = ")
        assert refusal(TaskQuery, {"depths": str(wrong)}).startswith("depths.0 = ")
        assert refusal(StepBody, {"index": wrong, "action": ""}).startswith("index = ")
    assert json.dumps(query.model_dump())
