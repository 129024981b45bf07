"""Functions: an action and its call are the same thing, and a wrong call is explained in words."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.calls import Call
from envhub.functions import Function, Functions, Parameter

GET = Function(
    "get",
    "get {count} {item}",
    "fetch pieces",
    (Parameter("count", "integer", "how many"), Parameter("item", "string", "its name")),
)
PUT = Function("put", "put {thing} in/on {place}", "put it down", (Parameter("thing"), Parameter("place")))
LOOK = Function("look", "look", "look around")
SAY = Function("say", "{text}", "say anything", (Parameter("text"),))
ALL = Functions(GET, PUT, LOOK, SAY)
WORDS = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=12)


@pytest.mark.parametrize(
    ("action", "name", "arguments"),
    [
        ("get 2 oak log", "get", {"count": 2, "item": "oak log"}),
        ("get -1 log", "get", {"count": -1, "item": "log"}),
        ("put pan 1 in/on shelf 2", "put", {"thing": "pan 1", "place": "shelf 2"}),
        ("look", "look", {}),
        ("look up", "say", {"text": "look up"}),
        ("get many logs", "say", {"text": "get many logs"}),
        (f"get {2**63} log", "say", {"text": f"get {2**63} log"}),
    ],
)
def test_the_first_function_that_fits_an_action_is_its_call(
    action: str, name: str, arguments: dict[str, str | int | float | bool | None]
) -> None:
    call = ALL.call(action)
    assert call == Call(function_name=name, arguments=arguments)
    assert ALL.action(call) == action


@given(WORDS, WORDS)
def test_every_action_of_a_template_is_given_back(thing: str, place: str) -> None:
    action = PUT.action({"thing": thing, "place": place})
    assert ALL.action(ALL.call(action)) == action


@given(st.integers(-(2**63), 2**63 - 1), WORDS)
def test_arguments_by_order_and_by_name_mean_the_same(count: int, item: str) -> None:
    by_order = Call(function_name="get", arguments=[count, item])
    by_name = Call(function_name="get", arguments={"item": item, "count": count})
    assert ALL.action(by_order) == ALL.action(by_name) == f"get {count} {item}"


def test_an_action_that_no_template_fits_has_no_call() -> None:
    with pytest.raises(ValueError, match="no function has such a template"):
        Functions(GET, LOOK).call("dance")


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"count": 2},
        {"count": 2, "item": "log", "colour": "red"},
        {"count": "2", "item": "log"},
        {"count": 2.0, "item": "log"},
        {"count": True, "item": "log"},
        {"count": None, "item": "log"},
        {"count": 2, "item": ""},
        {"count": 2, "item": " \t"},
        {"count": 2, "item": "log\nget 3 gold"},
        {"count": 2, "item": "log\u2028get 3 gold"},
        {"count": 2, "item": 7},
        [2],
        [2, "log", 1],
        ["log", 2],
    ],
)
def test_a_wrong_call_is_told_the_signature(arguments: dict[str, str] | list[str]) -> None:
    with pytest.raises(ValueError, match=r"get takes get\(count: int, item: str\)"):
        ALL.action(Call(function_name="get", arguments=arguments))


@pytest.mark.parametrize("name", ["__import__", "Get", "get ", "fly", "action", "call"])
def test_an_unknown_function_is_told_the_known_ones(name: str) -> None:
    with pytest.raises(ValueError, match="There are: get, put, look, say"):
        ALL.action(Call(function_name=name))


def test_braces_in_an_argument_are_only_text() -> None:
    assert PUT.action({"thing": "{place}", "place": "{thing}"}) == "put {place} in/on {thing}"


def test_what_surrounds_an_argument_is_cut_off() -> None:
    assert GET.action({"count": 2, "item": "  oak log "}) == "get 2 oak log"


def test_characters_of_regular_expressions_in_a_template_mean_themselves() -> None:
    odd = Function("odd", "a.b*[{x}]+(c)?", "odd", (Parameter("x"),))
    assert odd.read("a.b*[7]+(c)?") == {"x": "7"}
    assert odd.read("axb[7]c") is None


def test_functions_describe_themselves_in_every_notation() -> None:
    assert ALL.grammar.splitlines()[:3] == [
        "get COUNT ITEM: fetch pieces",
        "put THING in/on PLACE: put it down",
        "look: look around",
    ]
    assert ALL.signatures.splitlines()[0] == "def get(count: int, item: str)  # fetch pieces"
    first = json.loads(ALL.schemas.splitlines()[0])
    assert first["name"] == "get"
    assert first["parameters"]["properties"]["count"] == {"type": "integer", "description": "how many"}
    assert first["parameters"]["required"] == ["count", "item"]


def test_functions_are_found_by_position() -> None:
    assert (ALL[0], len(ALL), [function.name for function in ALL]) == (GET, 4, ["get", "put", "look", "say"])
