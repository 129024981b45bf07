"""Actions in texts: what is written can be read, and whatever a policy writes is read without harm."""

import json
from keyword import iskeyword

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.action_format import ACTION_FORMATS, CALL_FORMATS, malformed_reply, parse, render
from common.calls import Call, read
from common.errors import ConfigurationError

FORMATS = st.sampled_from(ACTION_FORMATS)
TEXT_FORMATS = ("plain", "react")
LINES = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), max_size=60).map(str.strip)
THOUGHTS = LINES.filter(lambda line: "Action" not in line and "```" not in line)
ACTIONS = LINES.filter(lambda line: bool(line) and "Action" not in line)
NAMES = st.from_regex(r"[a-z_][a-z0-9_]{0,20}", fullmatch=True).filter(lambda name: not iskeyword(name))
VALUES = (
    LINES.filter(lambda line: "```" not in line) | st.integers(-(10**9), 10**9) | st.booleans() | st.none()
)
ARGUMENTS = st.dictionaries(NAMES, VALUES, max_size=4) | st.lists(VALUES, min_size=1, max_size=4)
CALLS = st.builds(lambda name, arguments: Call(function_name=name, arguments=arguments), NAMES, ARGUMENTS)


def code(*lines: str) -> str:
    return "\n".join(["```python", *lines, "```"])


@given(ACTIONS, st.sampled_from(TEXT_FORMATS), THOUGHTS)
def test_a_rendered_action_is_read_back(action: str, action_format: str, thought: str) -> None:
    assert parse(render(action, action_format, thought), action_format) == action


@given(CALLS, st.sampled_from(CALL_FORMATS), THOUGHTS)
def test_a_rendered_call_is_read_back(call: Call, action_format: str, thought: str) -> None:
    action = parse(render(call.text, action_format, thought), action_format)
    assert action == call.text
    assert read(action) == call


@given(st.text(st.characters(exclude_categories=())), FORMATS)
def test_any_text_is_one_action_of_one_line_or_malformed(text: str, action_format: str) -> None:
    action = parse(text, action_format)
    if action is not None:
        assert action
        assert action == action.strip()
        assert len(action.splitlines()) == 1
        assert action in text if action_format in TEXT_FORMATS else read(action)


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


@pytest.mark.parametrize(
    "text",
    [
        '{"thought": "why", "function_name": "get", "arguments": {"count": 2, "item": "oak log"}}',
        'I think so.\n{"function_name": "get",\n "arguments": {"count": 2, "item": "oak log"}}\nDone.',
        '```json\n{"function_name": "get", "arguments": {"count": 2, "item": "oak log"}, "id": [1]}\n```',
    ],
)
def test_a_function_call_is_read_out_of_what_stands_around_it(text: str) -> None:
    call = Call(function_name="get", arguments={"count": 2, "item": "oak log"})
    assert parse(text, "function_calling") == call.text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "get 2 oak log",
        "{}",
        "} {",
        "[1, 2]",
        "null",
        '{"function_name": ""}',
        '{"function_name": 7}',
        '{"function_name": ["get"]}',
        '{"function_name": "get", "arguments": "2 oak log"}',
        '{"function_name": "get", "arguments": {"item": ["oak log"]}}',
        '{"function_name": "get", "arguments": {"item": {"name": "oak log"}}}',
        '{"function_name": "get", "arguments": {"count": NaN}}',
        '{"function_name": "get", "arguments": {"count": 1e999}}',
        '{"function_name": "get"}\n{"function_name": "inventory"}',
        '{"function_name": "get"',
        "{'function_name': 'get'}",
        '{"function_name": "' + "a" * 101 + '"}',
        '{"function_name": "get", "arguments": {"count": ' + "9" * 5000 + "}}",
        '{"a":' * 100_000 + "1" + "}" * 100_000,
        "{" * 200_000,
    ],
)
def test_what_is_no_function_call_is_malformed(text: str) -> None:
    assert parse(text, "function_calling") is None


@pytest.mark.parametrize(
    "text",
    [
        code("# I need logs.", 'get(2, "oak log")'),
        "I need logs.\n" + code("get(2, 'oak log')") + "\nThat is all.",
        code("get(", "    2,", "    'oak log',", ")  # the last word"),
        "```python get(2, 'oak log')```",
        "``` python\nget(2, 'oak ' 'log')\n```",
    ],
)
def test_code_is_one_call_among_comments(text: str) -> None:
    assert parse(text, "code_as_action") == Call(function_name="get", arguments=[2, "oak log"]).text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "get(2, 'oak log')",
        "```\nget(2, 'oak log')\n```",
        code(),
        code("# only a thought"),
        code("get"),
        code("get(2", ""),
        code("get(2)", "inventory()"),
        code("get(2)") + code("inventory()"),
        code("x = get(2)"),
        code("import os", "get(2)"),
        code("world.get(2)"),
        code("get(2)(3)"),
        code("get(count)"),
        code("get(1 + 1)"),
        code("get([2])"),
        code("get(b'2')"),
        code("get(f'{2}')"),
        code("get(...)"),
        code("get(*[2])"),
        code("get(**{'count': 2})"),
        code("get(2, item='oak log')"),
        code("get(count=2, count=3)"),
        code("get(__import__('os').system('true'))"),
        code("get(open('/etc/passwd').read())"),
        code("(lambda: get(2))()"),
        code("get(2) if True else 1"),
        code("await get(2)"),
        code("get(2j)"),
        code("get(1e999)"),
        code("get('\x00')"),
        code("get('\ud800')"),
        code("get(" + "(" * 1900 + ")" * 1900 + ")"),
        code("get(" + "-" * 3000 + "1)"),
        code("get(" + "[" * 1900 + "]" * 1900 + ")"),
        code("get('" + "x" * 5000 + "')"),
        code("get(" + "9" * 5000 + ")"),
        "```python" * 50_000,
        "```python" + " " * 200_000,
    ],
)
def test_what_is_no_single_call_of_plain_values_is_malformed(text: str) -> None:
    assert parse(text, "code_as_action") is None


def test_a_call_of_import_is_data_that_names_no_function() -> None:
    """Nothing is evaluated: the name of a call is text, and no environment has such a function."""
    text = parse(code("__import__('os')"), "code_as_action")
    assert text is not None
    assert json.loads(text) == {"function_name": "__import__", "arguments": ["os"]}


@pytest.mark.parametrize("action", ["", " a", "a\nb", "Action: b", "\n"])
def test_what_would_not_be_read_back_is_never_rendered(action: str) -> None:
    with pytest.raises(ValueError, match="cannot be written as react"):
        render(action, "react", "why")


@pytest.mark.parametrize("action_format", CALL_FORMATS)
@pytest.mark.parametrize("action", ["get 2 oak log", "get(2)", "{}", ""])
def test_only_calls_are_rendered_as_calls(action: str, action_format: str) -> None:
    with pytest.raises(ValueError, match="not a call"):
        render(action, action_format)


@pytest.mark.parametrize(
    ("call", "thought"),
    [
        (Call(function_name="get", arguments=["a ``` b"]), ""),
        (Call(function_name="get"), "first\ninventory()"),
        (Call(function_name="get"), "so ```python get(1) ```"),
        (Call(function_name="not a name"), ""),
        (Call(function_name="class"), ""),
    ],
)
def test_code_that_would_not_be_read_back_is_never_rendered(call: Call, thought: str) -> None:
    with pytest.raises(ValueError, match="cannot be written as code_as_action"):
        render(call.text, "code_as_action", thought)


@pytest.mark.parametrize("action_format", ACTION_FORMATS)
def test_the_reply_to_a_malformed_text_is_one_line(action_format: str) -> None:
    assert malformed_reply(action_format).count("\n") == 0


def test_an_unknown_format_names_the_known_ones() -> None:
    with pytest.raises(ConfigurationError, match="action_format = 'xml': unknown; allowed are plain, react"):
        parse("a", "xml")
