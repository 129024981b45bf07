"""Rows are read with their numbers and lines; a broken one is refused or left out, as asked."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common import json_rows
from common.errors import ConfigurationError

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


def whole(value: Any) -> Any:
    if value == "broken" or value == {"broken": 1}:
        raise ValueError("it is broken")
    return value


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(st.dictionaries(st.text(), VALUES, max_size=3), max_size=5),
    gap=st.sampled_from(["", "\n", " \n\n"]),
)
def test_every_row_is_read_as_it_was_written_with_the_line_where_it_begins(tmp_path_factory, rows, gap):
    folder = tmp_path_factory.mktemp("rows")
    path = folder / "rows.json"
    text, lines = "[" + gap, []
    for index, row in enumerate(rows):
        text += "," + gap if index else ""
        lines.append(text.count("\n") + 1)
        text += json.dumps(row, indent=1)
    path.write_text(text + gap + "]\n")
    found = list(json_rows.scan(path))
    assert [value for _, _, value in found] == rows
    assert [number for number, _, _ in found] == list(range(len(rows)))
    assert [line for _, line, _ in found] == lines


@pytest.mark.parametrize("layout", ["array", "lines"])
def test_both_forms_are_read_back_as_written(tmp_path: Path, layout: Any) -> None:
    rows = [{"text": "zwei\nZeilen, ünïcödé \u2028"}, {"number": 1.5}, {}]
    assert json_rows.write(tmp_path / "rows", rows, layout) == 3
    assert [value for _, _, value in json_rows.scan(tmp_path / "rows")] == rows
    assert list(tmp_path.iterdir()) == [tmp_path / "rows"]


FAULTS = [
    ('[\n{"a": 1},\n{"broken": 1},\n{"a": 2}\n]', 2, ["line 3: row 1: it is broken"]),
    ('[{"a": 1},\n{"a" 2},\n{"a": 3}]', 1, ["line 2: row 1: not JSON: Expecting ':' del", "nothing after"]),
    ('[{"a": 1}\n{"a": 2}]', 1, ["line 2: row 1: not JSON: expected ',' or ']', found '{\"a\": 2}]'"]),
    ('[{"a": 1},\n{"a": 2}', 2, ["line 2: row 2: not JSON: expected ',' or ']', the file ends"]),
    ('[{"a": 1},]', 1, ["line 1: row 1: not JSON: Expecting value"]),
    ('[{"a": 1}]\n{"a": 2}', 1, ["row 1: after the array stands"]),
    ('[{"a": NaN}]', 0, ["row 0: not JSON: NaN is no JSON number"]),
    ('{"a": 1}\n\n{"a": \n{"a": 3}\n', 2, ["line 3: row 1: not JSON: Expecting value"]),
    ('{"a": 1}\n[' + "[" * 100_000 + "\n", 1, ["line 2: row 1: not JSON: nested too deeply"]),
]  # fmt: skip


@pytest.mark.parametrize(("text", "num_kept", "told"), FAULTS)
def test_a_broken_row_is_told_with_its_line_and_left_out_or_refuses_the_file(
    tmp_path: Path, text: str, num_kept: int, told: list[str]
) -> None:
    path = tmp_path / "rows.json"
    path.write_text(text)
    kept = json_rows.read(path, whole, "skip")
    assert (len(kept.rows), len(kept.faults)) == (num_kept, 1)
    assert all(part in str(kept.faults[0]) for part in told)
    assert kept.counts == f"{num_kept} rows kept, 1 left out"
    with pytest.raises(ConfigurationError) as caught:
        json_rows.read(path, whole)
    assert str(caught.value) == f"{path}: {kept.faults[0]}"


def test_a_refusal_says_how_many_rows_are_broken(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"broken": 1}\n{"a": 1}\n{"broken": 1}\n')
    with pytest.raises(ConfigurationError, match=r"line 1: row 0: it is broken; 2 of 3 rows are broken$"):
        json_rows.read(path, whole)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it is empty"),
        (b" \n", "it is empty"),
        (b"7", "it begins with '7'"),
        (b"\xff\xfe{", "not UTF-8 text"),
        (None, "no such file"),
    ],
)
def test_a_file_without_rows_is_refused_in_either_case(tmp_path: Path, content: Any, reason: str) -> None:
    path = tmp_path / "rows"
    if content is not None:
        path.write_bytes(content)
    for asked in ("refuse", "skip"):
        with pytest.raises(ConfigurationError, match=reason):
            json_rows.read(path, whole, asked)  # type: ignore[arg-type]


def test_a_byte_order_mark_and_a_folder(tmp_path: Path) -> None:
    (tmp_path / "rows").write_bytes(b'\xef\xbb\xbf[{"a": 1}]')
    assert [value for _, _, value in json_rows.scan(tmp_path / "rows")] == [{"a": 1}]
    with pytest.raises(ConfigurationError, match="cannot be read"):
        json_rows.read(tmp_path, whole)


def test_a_writer_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    json_rows.write(path, [{"a": 1}])
    with pytest.raises(ValueError, match="Out of range"):
        json_rows.write(path, [{"a": 2}, {"a": float("nan")}])
    assert json.loads(path.read_text()) == [{"a": 1}]
    assert list(tmp_path.iterdir()) == [path]
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="cannot be written"):
        json_rows.write(tmp_path / "file" / "rows.json", [])
