"""How environments refuse what they do not have, whatever size it is of."""

from envhub.environment import out_of_range, unknown_task


def test_of_a_huge_name_only_the_beginning_is_compared() -> None:
    said = str(unknown_task("maze", "x" * 190 + "y" * 1_000_000, "example", ["x" * 190]))
    assert repr("x" * 190) in said
    assert len(said) < 400


def test_an_index_of_any_size_is_told_the_range() -> None:
    assert str(out_of_range("maze", -7, 25)).startswith("index = -7: ")
    for index in (10**5000, -(10**5000)):
        said = str(out_of_range("maze", index, 25))
        assert said == "index = a number of 16610 bits: environment maze has the tasks 0 to 24"
