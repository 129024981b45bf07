"""Targets: numbers and texts of a name's arguments, and one line for what they cannot be."""

import pytest

from common.errors import ConfigurationError
from envhub.adapters.target import Target


@pytest.mark.parametrize(
    "text", ["abc", "[1]", "", "1.5", "true", "null", "NaN", "0", "-3", '"7"', "9" * 400, "1e3"]
)
def test_what_is_no_whole_number_is_a_mistake(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"horizon = .*: must be a whole number above 0") as refused:
        Target("openenv", f"a:B?horizon={text}").number("horizon", 50)
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize("text", ["x", "[]", "false", "NaN", "Infinity", "1e999", "9" * 400])
def test_what_is_no_number_is_a_mistake(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"success_at = .*: must be a number"):
        Target("verifiers", f"a?success_at={text}").number("success_at", 1.0)


def test_numbers_are_of_the_kind_of_their_default() -> None:
    target = Target("verifiers", "a?horizon=7&success_at=2")
    assert target.number("horizon", 50) == 7
    assert isinstance(target.number("success_at", 1.0), float)
    assert (target.number("other", 50), target.number("share", 0.5)) == (50, 0.5)


def test_nesting_without_end_is_only_text() -> None:
    deep = "[" * 100_000
    assert Target("gymnasium", f"A?x={deep}").arguments == {"x": deep}


def test_a_mistake_is_one_line() -> None:
    assert "a b" in str(Target("gymnasium", "A\nB").mistake("a\n  b"))
    assert len(str(Target("gymnasium", "A\nB" * 999).mistake("a\n" * 9999)).splitlines()) == 1
