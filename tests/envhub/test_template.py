"""Templates: read as a regular expression would, in time that hostile text does not stretch."""

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envhub import registry
from envhub.functions import Function, Functions, Parameter
from envhub.template import PLACE, Template

CRAFT = "craft {count} {item} using {ingredients}"
FORMS = (
    CRAFT,
    "put {a} in {b}",
    "go to {a} {n}",
    "{a}",
    "{n}",
    "{n} {m}",
    "{a} {n} {b}",
    "[{a}] [{b}] [{c}]",
    "look",
)
INTEGERS = frozenset({"count", "n", "m"})
PIECES = (
    "craft ",
    "put ",
    "go to ",
    " ",
    "  ",
    " using ",
    " in ",
    "[",
    "] [",
    "]",
    "a",
    "in",
    "-",
    "1",
    "22",
    "\t",
    "\u00a0",
)


def oracle(form: str, text: str) -> dict[str, str] | None:
    """By backtracking."""
    parts = PLACE.split(form)
    parts[::2] = map(re.escape, parts[::2])
    kinds = {True: "-?[0-9]+", False: r"\S(?:.*\S)?"}
    parts[1::2] = [f"(?P<{name}>{kinds[name in INTEGERS]})" for name in parts[1::2]]
    match = re.fullmatch("".join(parts), text)
    return match.groupdict() if match else None


@given(st.sampled_from(FORMS), st.lists(st.sampled_from(PIECES), max_size=14).map("".join))
def test_a_text_is_read_as_a_regular_expression_reads_it(form: str, text: str) -> None:
    assert Template(form, INTEGERS).read(text) == oracle(form, text)


@pytest.mark.parametrize("form", FORMS)
@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_what_was_filled_in_is_read_back_as_the_same_action(form: str, data: st.DataObject) -> None:
    texts = st.text(min_size=1).filter(lambda text: Parameter("a").accepts(text)) | st.lists(
        st.sampled_from(PIECES), min_size=1, max_size=5
    ).map("".join).filter(str.strip)
    names = PLACE.findall(form)
    parameters = tuple(Parameter(name, "integer" if name in INTEGERS else "string") for name in names)
    functions = Functions(Function("act", form, "act", parameters))
    arguments = {
        name: data.draw(st.integers(-(2**63), 2**63 - 1) if name in INTEGERS else texts) for name in names
    }
    action = functions[0].action(arguments)
    call = functions.call(action)
    assert functions.action(call) == action


@pytest.mark.parametrize(
    "text", ["put a\nin b in c", "put a in b\n", "put a in b\u2028", "put a\x1cb in c", "", "\n"]
)
def test_several_lines_are_no_action(text: str) -> None:
    assert Template("put {a} in {b}", ()).read(text) is None


def test_an_integer_longer_than_python_reads_is_no_action() -> None:
    assert Template("{n}", INTEGERS).read("9" * 4300)
    assert Template("{n}", INTEGERS).read("9" * 4301) is None


@pytest.mark.parametrize("unit", ["x", " ", "1", " 1", " in ", "[x] [", "craft 1 x using ", " \t"])
def test_hostile_text_is_read_in_linear_time(unit: str) -> None:
    forms = (
        *FORMS,
        "{a} in {b} in {c} in {d} in {e}",
        "{a} {n} {b} {m} {c}",
        "[{a}] [{b}] [{n}] [{c}] [{d}]",
    )
    hostile = unit * (100_000 // len(unit))
    began = time.process_time()
    for form in forms:
        start = PLACE.split(form)[0] + "1 x"
        for end in ("\nx", " ", "x"):
            Template(form, INTEGERS).read(start + hostile + end)
    assert time.process_time() - began < 5.0


@pytest.mark.parametrize("name", ["textcraft", "maze", "guess_number", "wordle"])
def test_an_environment_reads_hostile_text_in_linear_time(name: str) -> None:
    functions = registry.environment(name).functions
    began = time.process_time()
    for text in (
        "x using " * 12_500 + "\n",
        "craft 1 " + "x using " * 12_500 + "\n",
        "get 1" + " " * 100_000,
    ):
        with pytest.raises(ValueError, match="no function has such a template") as refusal:
            functions.call(text)
        assert len(str(refusal.value)) < 200
    assert time.process_time() - began < 2.0
