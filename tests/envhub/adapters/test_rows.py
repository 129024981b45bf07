"""Rows as tasks, endless data sets too."""

import itertools
from collections.abc import Iterator

import pytest

from common.errors import ConfigurationError, PreflightError
from envhub.adapters.rows import MAX_LISTED, MAX_NAMED, Rows


def test_an_endless_data_set_is_read_as_far_as_somebody_asks() -> None:
    given: list[int] = []
    rows = Rows("endless", (given.append(number) or number for number in itertools.count()))
    assert rows.row("row-000004") == 4
    assert given == [0, 1, 2, 3, 4]
    listed = [task.name for split in ("train", "test", "unseen") for task in rows.tasks(split)]
    assert len(listed) == len(set(listed)) == MAX_LISTED == len(given)
    assert rows.row("row-001300") == 1300


def test_no_name_makes_an_endless_data_set_be_read_for_ever() -> None:
    given: list[int] = []
    rows = Rows("endless", (given.append(number) or number for number in range(MAX_NAMED + 5)))
    for name in (f"row-{MAX_NAMED:06d}", "row-999999999"):
        with pytest.raises(ConfigurationError, match="no such task"):
            rows.task(name)
    assert given == []
    assert rows.row(f"row-{MAX_NAMED - 1:06d}") == MAX_NAMED - 1


def test_the_split_of_a_row_does_not_depend_on_how_many_there_are() -> None:
    few, many = Rows("few", range(30)), Rows("many", range(500))
    assert {task.name for task in few.tasks("test")} < {task.name for task in many.tasks("test")}
    for task in many.tasks("train"):
        assert many.task(task.name) == task


@pytest.mark.parametrize("name", ["", "row-5", "row-000030", "row--00001", "row-00000\u0661", "row-0000001"])
def test_a_row_that_is_not_there_is_a_clear_mistake(name: str) -> None:
    with pytest.raises(ConfigurationError, match="no such task; one is 'row-000000'"):
        Rows("few", range(30)).task(name)


def test_rows_that_break_are_never_taken_for_fewer_rows() -> None:
    def torn() -> Iterator[int]:
        yield from range(3)
        raise KeyError("a torn\nfile")

    rows = Rows("torn", torn())
    assert rows.row("row-000002") == 2
    for _ in range(2):
        with pytest.raises(
            PreflightError, match="environment torn: row 3 cannot be read: KeyError"
        ) as refused:
            rows.tasks("train")
        assert len(str(refused.value).splitlines()) == 1
    assert rows.task("row-000001").name == "row-000001"
