"""Actions in texts: what is written can be read, and whatever a policy writes is read without harm."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.action_format import ACTION_FORMATS, malformed_reply, parse, render
from common.errors import ConfigurationError

FORMATS = st.sampled_from(ACTION_FORMATS)
LINES = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), max_size=60).map(str.strip)
ACTIONS = LINES.filter(lambda line: bool(line) and "Action" not in line)


@given(ACTIONS, FORMATS, LINES.filter(lambda line: "Action" not in line))
def test_a_rendered_action_is_read_back(action: str, action_format: str, thought: str) -> None:
    assert parse(render(action, action_format, thought), action_format) == action


@given(st.text(st.characters(exclude_categories=())), FORMATS)
def test_any_text_is_one_action_of_one_line_or_malformed(text: str, action_format: str) -> None:
    action = parse(text, action_format)
    if action is not None:
        assert action
        assert action == action.strip()
        assert len(action.splitlines()) == 1
        assert action in text


@given(ACTIONS, ACTIONS)
def test_several_actions_are_malformed(one: str, other: str) -> None:
    assert parse(f"{one}\n{other}", "plain") is None
    assert parse(f"Action: {one}\nAction: {other}", "react") is None
    assert parse(f"Action: {one}\nObservation: {other}", "react") is None


@pytest.mark.parametrize(
    "text", ["", " \n ", "Thought: hm", "Action:", "Thought: hm\nAction: \n", "action: get 1 a"]
)
def test_react_without_an_action_is_malformed(text: str) -> None:
    assert parse(text, "react") is None


@pytest.mark.parametrize(
    "text",
    [
        "Action: get 2 log",
        "Thought: I need logs.\nAction: get 2 log",
        "Thought: I need\nmany logs.\n\nAction:\nget 2 log\n",
        "Thought : I need logs . Action : get 2 log",
    ],
)
def test_react_is_read_whatever_the_white_space(text: str) -> None:
    assert parse(text, "react") == "get 2 log"


@pytest.mark.parametrize("action", ["", " a", "a\nb", "Action: b", "\n"])
def test_what_would_not_be_read_back_is_never_rendered(action: str) -> None:
    with pytest.raises(ValueError, match="cannot be written as react"):
        render(action, "react", "why")


@pytest.mark.parametrize("action_format", ACTION_FORMATS)
def test_the_reply_to_a_malformed_text_is_one_line(action_format: str) -> None:
    assert malformed_reply(action_format).count("\n") == 0


def test_an_unknown_format_names_the_known_ones() -> None:
    with pytest.raises(ConfigurationError, match="action_format = 'xml': unknown; allowed are plain, react"):
        parse("a", "xml")
