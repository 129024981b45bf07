"""Calls as data: read from JSON and from code, written as both, never evaluated."""

import json

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from common.action_format import ACTION_FORMATS, CALL_FORMATS, parse
from common.calls import MAX_INTEGER, MAX_SOURCE, MIN_INTEGER, Call, as_code, read, read_code

ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=200)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ANY_TEXT, inner, max_size=3),
    max_leaves=8,
)


@given(ANY_TEXT)
def test_any_text_is_a_call_or_none(text: str) -> None:
    for call in (read(text), read_code(text)):
        assert call is None or read(call.text) == call


@given(name=JSON, arguments=JSON)
def test_any_json_is_a_call_or_none(name: object, arguments: object) -> None:
    call = read(json.dumps({"function_name": name, "arguments": arguments}))
    if call is not None:
        assert call.function_name == name
        assert call.arguments == (arguments or {})
        assert read(call.text) == call


@given(st.lists(st.booleans() | st.integers(MIN_INTEGER, MAX_INTEGER) | ANY_TEXT | st.none(), max_size=4))
def test_code_of_a_call_is_read_back(arguments: list[str | int | bool | None]) -> None:
    call = Call(function_name="get", arguments=list(arguments))
    again = read_code(as_code(call))
    if len(as_code(call)) <= MAX_SOURCE:
        assert again is not None
        assert again.arguments == (arguments or {})


def test_truth_values_stay_truth_values_and_numbers_numbers() -> None:
    call = read('{"function_name": "set", "arguments": {"a": true, "b": 1, "c": 1.0, "d": "1", "e": null}}')
    assert call is not None
    assert isinstance(call.arguments, dict)
    assert [type(value) for value in call.arguments.values()] == [bool, int, float, str, type(None)]
    assert as_code(call) == "set(a=True, b=1, c=1.0, d='1', e=None)"
    assert read_code(as_code(call)) == call


def test_a_negative_number_is_a_value() -> None:
    assert read_code("set(-1, -2.5)") == Call(function_name="set", arguments=[-1, -2.5])


@pytest.mark.parametrize("arguments", ["", ', "arguments": {}', ', "arguments": null', ', "arguments": []'])
def test_a_call_without_arguments_needs_none(arguments: str) -> None:
    assert read(f'{{"function_name": "look"{arguments}}}') == Call(function_name="look")


def test_keys_beside_the_call_are_ignored() -> None:
    text = '{"thought": {"deep": [1]}, "function_name": "look", "id": 7}'
    assert read(text) == Call(function_name="look")


@pytest.mark.parametrize("depth", [50, 1_000, 100_000])
def test_depth_is_no_way_in(depth: int) -> None:
    assert read('{"function_name": "a", "arguments": ' + "[" * depth + "]" * depth + "}") is None
    assert read_code(f"a({'[' * depth}{']' * depth})") is None
    assert read_code(f"{'a(' * depth}{')' * depth}") is None
    assert read_code(f"a({'not ' * depth}1)") is None


@pytest.mark.parametrize(
    "source",
    [
        "__import__('os').system('true')",
        "a(__import__('os'))",
        "a([].__class__)",
        "a((lambda: 1)())",
        "a(x := 1)",
        "a({1: 2})",
        "a({1})",
        "a((1,))",
        "a(1 if 2 else 3)",
        "a(*'xy')",
        "a(**{})",
        "a; b",
        "a(1), b(2)",
        "a({[]})",
        "a({[]: 1})",
        "a({{}: {}})",
        "a(1 + 2j)",
        "a(-True)",
        "a(--1)",
        "a(~1)",
        "a(-'x')",
        "a(0x" + "f" * 3900 + ")",
        f"a({2**63})",
        f"a(-{2**63 + 1})",
        "a(1e999)",
        "a(-1e999)",
        "print",
        "\x00",
        "a(10 ** 10 ** 10)",
        "a('x' * 10 ** 10)",
    ],
)
def test_anything_but_a_call_of_literals_is_none(source: str) -> None:
    assert read_code(source) is None


def test_long_code_is_not_looked_at() -> None:
    fits = f"a('{'x' * (MAX_SOURCE - 5)}')"
    assert len(fits) == MAX_SOURCE
    assert read_code(fits) is not None
    assert read_code(f"{fits} ") is None


@pytest.mark.parametrize("name", ["", "x" * 101])
def test_a_name_has_1_to_100_characters(name: str) -> None:
    assert read(json.dumps({"function_name": name})) is None
    with pytest.raises(ValidationError):
        Call(function_name=name)


@pytest.mark.parametrize(
    "number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999", "9" * 5000, str(2**63), str(-(2**63) - 1)]
)
def test_a_number_that_no_wire_carries_is_no_value(number: str) -> None:
    for arguments in (f"[{number}]", f'{{"a": 1, "b": {number}}}'):
        assert read(f'{{"function_name": "a", "arguments": {arguments}}}') is None


@pytest.mark.parametrize("number", [MIN_INTEGER, MAX_INTEGER, -1.5e308])
def test_the_largest_numbers_are_values(number: float) -> None:
    call = Call(function_name="a", arguments=[number])
    assert read(call.text) == read_code(as_code(call)) == call


@pytest.mark.parametrize("end", ["\n", "\r", "\x0b", "\x1c", "\x85", "\u2028", "\u2029"])
def test_a_call_is_one_line_whatever_its_values_are(end: str) -> None:
    call = Call(function_name=f"a{end}b", arguments={f"c{end}d": f"e{end}f"})
    assert len(call.text.splitlines()) == 1
    assert read(call.text) == call


PIECES = (
    *(
        "a",
        "b=",
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        ":",
        ",",
        "*",
        "**",
        "-",
        "+",
        "~",
        "not ",
        "'",
        '"',
        "'x'",
        '"y"',
    ),
    *(
        "1",
        "0x" + "f" * 3900,
        "9" * 5000,
        "1e999",
        "2j",
        ".5",
        "None",
        "True",
        "nan",
        "NaN",
        "Infinity",
        "null",
    ),
    *("\n", "\\", "\x00", "\x85", "\u2028", "\ud800", "#", "...", ";", "lambda: ", "f'{", "b'", " if ", ":="),
)
"""What calls and whatever resembles them are made of."""


NESTED = st.recursive(
    st.sampled_from(PIECES) | st.just(""),
    lambda inner: st.builds(
        lambda pair, parts, between: pair[0] + between.join(parts) + pair[1],
        st.sampled_from(["[]", "{}", "()"]),
        st.lists(inner, max_size=3),
        st.sampled_from([",", ":"]),
    ),
    max_leaves=4,
)


@given(NESTED | st.lists(st.sampled_from(PIECES), max_size=12).map("".join))
def test_no_text_breaks_what_reads_it(text: str) -> None:
    """In all four formats, bare and where a call would stand."""
    written = (
        *(text, f"a({text})", f"Action: {text}", f"```python\n{text}\n```", f"```python\na({text})\n```"),
        f'{{"function_name": "a", "arguments": {text}}}',
        f'{{"function_name": "a", "arguments": [{text}]}}',
    )
    for whole in written:
        for action_format in ACTION_FORMATS:
            action = parse(whole, action_format)
            assert action is None or len(action.splitlines()) == 1
            if action is not None and action_format in CALL_FORMATS:
                assert read(action) is not None
                assert msgpack.packb(json.loads(action), unicode_errors="replace")
