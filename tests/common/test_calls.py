"""Calls as data: read from JSON and from code, written as both, never evaluated."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from common.calls import MAX_SOURCE, Call, as_code, read, read_code

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


@given(st.lists(st.booleans() | st.integers(-(10**20), 10**20) | ANY_TEXT | st.none(), max_size=4))
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
