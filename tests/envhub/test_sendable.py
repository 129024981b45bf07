"""What is shown and sent: whole characters, one line, and no folder of this machine."""

from pathlib import Path

import pytest

from common.errors import PreflightError
from envhub import registry
from envhub.sendable import one_line, sendable


def test_half_a_pair_becomes_a_question_mark_and_all_else_stays() -> None:
    assert sendable("cut \ud83d here") == "cut ? here"
    assert sendable("a\nb ü 🙂") == "a\nb ü 🙂"


def test_a_line_is_one_and_short() -> None:
    assert one_line(" a\r\nb\u2028c \ud800") == "a b c ?"
    assert one_line("x" * 9999) == "x" * 600
    assert one_line("abc", 2) == "ab"


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("cannot import name 'X' from 'y' (/home/me/lib/y.py)", "cannot import name 'X' from 'y' (y.py)"),
        ("[Errno 2] No such file: '/home/me/a.txt'", "[Errno 2] No such file: 'a.txt'"),
        ("http://127.0.0.1:8000/path/to: no answer", "http://127.0.0.1:8000/path/to: no answer"),
        ("maze_grid:/home/me/a.txt is what was asked for", "maze_grid:/home/me/a.txt is what was asked for"),
        ("and/or text/html 1/2", "and/or text/html 1/2"),
    ],
)
def test_files_are_told_by_their_names_alone(said: str, shown: str) -> None:
    assert one_line(said) == shown


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("from json import nothing_of_that_name", "nothing_of_that_name"),
        ("open('/etc/nothing/here')", "FileNotFoundError"),
    ],
)
@pytest.mark.parametrize("scheme", ["python", "gymnasium"])
def test_what_cannot_be_made_tells_no_folder_of_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheme: str, code: str, told: str
) -> None:
    (tmp_path / "halfway.py").write_text(f"{code}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(PreflightError, match=told) as refused:
        registry.environment(f"{scheme}:halfway:World")
    assert "/" not in str(refused.value)
