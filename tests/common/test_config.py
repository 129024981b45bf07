"""Configuration: precedence, and every mistake in one line that names field, value and what is allowed."""

from pathlib import Path
from typing import Literal

import pytest
from pydantic import Field, model_validator

from common.config import Section, load, validate
from common.errors import ConfigurationError


class Wheel(Section):
    radius: float = Field(default=1.0, gt=0)
    kind: Literal["steel", "wood"] = "steel"


class Cart(Section):
    wheel: Wheel = Wheel()
    names: tuple[str, ...] = ()
    load_kg: int = 0

    @model_validator(mode="after")
    def _holds(self) -> "Cart":
        if self.wheel.kind == "wood" and self.load_kg > 100:
            raise ValueError(f"load_kg {self.load_kg}: wood carries at most 100")
        return self


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "cart.toml"
    path.write_text('load_kg = 7\n[wheel]\nradius = 2.0\nkind = "wood"\n')
    return path


def refusal(*arguments: object) -> str:
    with pytest.raises(ConfigurationError) as caught:
        load(Cart, *arguments)  # type: ignore[arg-type]
    text = str(caught.value)
    assert "\n" not in text
    assert caught.value.exit_code == 2
    return text


def test_defaults_then_files_left_to_right_then_overrides(file: Path, tmp_path: Path) -> None:
    second = tmp_path / "second.toml"
    second.write_text("[wheel]\nradius = 3.0\n")
    assert load(Cart, []) == Cart()
    assert load(Cart, [file]).wheel == Wheel(radius=2.0, kind="wood")
    assert load(Cart, [file, second]).wheel == Wheel(radius=3.0, kind="wood")
    assert load(Cart, [second, file]).wheel.radius == 2.0
    cart = load(Cart, [file, second], ["--wheel.radius=4", "--wheel.radius=5", "--load-kg=9"])
    assert (cart.wheel.radius, cart.load_kg) == (5.0, 9)


@pytest.mark.parametrize(
    ("override", "names"),
    [
        ('--names=["a", "b"]', ("a", "b")),
        ("--names=[]", ()),
    ],
)
def test_an_override_is_written_as_toml(override: str, names: tuple[str, ...]) -> None:
    assert load(Cart, [], [override]).names == names


def test_a_bare_word_is_a_string(file: Path) -> None:
    assert load(Cart, [file], ["--wheel.kind=steel"]).wheel.kind == "steel"


def test_an_unknown_key_is_named(file: Path) -> None:
    assert refusal([file], ["--wheel.colour=red"]) == "wheel.colour = 'red': unknown key"


def test_a_wrong_type_is_named_with_its_value() -> None:
    text = refusal([], ["--load_kg=heavy"])
    assert text.startswith("load_kg = 'heavy': ")
    assert "integer" in text


def test_a_value_that_is_not_allowed_says_what_is() -> None:
    text = refusal([], ["--wheel.kind=stone"])
    assert text == "wheel.kind = 'stone': Input should be 'steel' or 'wood'"
    assert "greater than 0" in refusal([], ["--wheel.radius=-1"])
    assert "finite" in refusal([], ["--wheel.radius=nan"])


def test_an_impossible_combination_is_explained(file: Path) -> None:
    assert refusal([file], ["--load_kg=101"]) == "configuration: load_kg 101: wood carries at most 100"


def test_several_mistakes_are_counted() -> None:
    assert refusal([], ["--load_kg=heavy", "--wheel.radius=-1"]).endswith("(and 1 more)")


def test_a_section_given_as_a_value_is_refused() -> None:
    assert refusal([], ["--wheel=3"]).startswith("wheel = 3: ")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert refusal([tmp_path / "none.toml"]) == f"{tmp_path / 'none.toml'}: no such configuration file"


@pytest.mark.parametrize("content", [b"load_kg = ", b"\xff\xfe", b"a = 1\na = 2\n"])
def test_a_broken_file_is_named_with_the_reason(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.toml"
    path.write_bytes(content)
    assert refusal([path]).startswith(f"{path}: ")


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    assert refusal([tmp_path]).startswith(f"{tmp_path}: ")


@pytest.mark.parametrize("override", ["wheel.radius=3", "--wheel.radius", "--=3", "--"])
def test_a_malformed_override_says_how_it_is_written(override: str) -> None:
    assert refusal([], [override]) == f"{override!r}: an override has the form --section.field=value"


def test_plain_values_are_validated_alike() -> None:
    assert validate(Cart, {"load_kg": 3}).load_kg == 3
    with pytest.raises(ConfigurationError, match=r"^load_kg = 'x': "):
        validate(Cart, {"load_kg": "x"})


def test_a_section_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Cart().load_kg = 3  # type: ignore[misc]


class Crowd(Section):
    numbers: tuple[int, ...] = ()


def test_half_a_million_mistakes_are_counted_and_none_is_told() -> None:
    """To tell the first one, all of them would have to be made into text."""
    with pytest.raises(ConfigurationError, match=r"^configuration: 500000 mistakes$"):
        validate(Crowd, {"numbers": ["x"] * 500_000})


def test_a_large_value_is_shown_in_part_and_a_strange_key_on_one_line() -> None:
    for values in ({"numbers": "x" * 10**6}, {"numbers": [["x" * 10**4] * 10**4]}, {"a\n\u2028b": 1}):
        with pytest.raises(ConfigurationError) as caught:
            validate(Crowd, values)
        assert len(str(caught.value)) < 5000
        assert len(str(caught.value).splitlines()) == 1


def test_a_number_with_more_digits_than_python_reads_is_a_text() -> None:
    assert refusal([], [f"--load_kg={'9' * 5000}"]).startswith("load_kg = '999")
