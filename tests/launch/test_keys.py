"""`pronghorn keys`: made once, added to, rotated, taken back; never overwritten, never outside the folder."""

import stat
from pathlib import Path

import pytest

from common.bus.keys import KeyRing
from launch.cli import main


def run(*arguments: object) -> int:
    return main(["keys", *map(str, arguments)])


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_keys_are_made_once_and_added_to(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keys = tmp_path / "keys"
    assert run(keys, "a", "b.example") == 0
    first = contents(keys)
    assert run(keys, "a", "b.example") == 0
    assert contents(keys) == first
    assert run(keys, "c") == 0
    assert {path: content for path, content in contents(keys).items() if path in first} == first
    for home in (keys / "learner", *(keys / "hosts" / name for name in ("a", "b.example", "c"))):
        ring = KeyRing(str(home))
        ring.check_admitted()
        assert set(ring.admitted().values()) == {"learner", "a", "b.example", "c"}
        assert ring.peer("learner") == KeyRing(str(keys / "learner")).own.public
    capsys.readouterr()
    assert run(keys, "--list") == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == [
        "learner",
        "a",
        "b.example",
        "c",
    ]


def test_a_command_that_was_killed_before_its_first_pair_may_be_given_again(tmp_path: Path) -> None:
    (tmp_path / "keys" / "learner").mkdir(parents=True)
    (tmp_path / "keys" / "learner" / ".own.key_secret.0badf00d").touch()
    assert run(tmp_path / "keys", "a") == 0


def test_nobody_else_may_read_any_of_it(tmp_path: Path) -> None:
    run(tmp_path / "keys", "a")
    for path in [tmp_path / "keys", *(tmp_path / "keys").rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_a_host_is_rotated_and_revoked(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    run(keys, "a", "b")
    old = KeyRing(str(keys / "hosts" / "a")).own
    assert run(keys, "--rotate", "a") == 0
    assert KeyRing(str(keys / "hosts" / "a")).own != old
    assert run(keys, "--revoke", "b") == 0
    assert not (keys / "hosts" / "b").exists()
    assert set(KeyRing(str(keys / "learner")).admitted().values()) == {"learner", "a"}
    assert run(keys) == 0
    assert set(KeyRing(str(keys / "learner")).admitted().values()) == {"learner", "a"}


BAD = {
    "a path": (["../x"], "host '../x': allowed are letters"),
    "a hidden file": ([".x"], "host '.x': allowed are letters"),
    "an empty name": ([""], "host '': allowed are letters"),
    "the learner": (["learner"], "host 'learner': the learner has keys anyway"),
    "nobody to rotate": (["--rotate", "zzz"], "host 'zzz': has no keys in"),
    "a path to revoke": (["--revoke", "../a"], "host '../a': allowed are letters"),
    "an empty name to revoke": (["--revoke="], "host '': allowed are letters"),
    "revoking the learner": (["--revoke", "learner"], "the learner cannot be revoked"),
    "two things at once": (
        ["--list", "--rotate", "a"],
        "--list: takes no further hosts and no second option",
    ),
    "settings": (["--bus.host=x"], "--bus.host=x: `pronghorn keys` takes no settings"),
}


@pytest.mark.parametrize(("arguments", "line"), BAD.values(), ids=BAD)
def test_what_cannot_be_is_one_line_and_changes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], line: str
) -> None:
    run(tmp_path / "keys", "a")
    before = contents(tmp_path)
    capsys.readouterr()
    assert run(tmp_path / "keys", *arguments) == 2
    said = capsys.readouterr().err
    assert line in said
    assert said.count("\n") == 1
    assert contents(tmp_path) == before


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    assert run(tmp_path, "a") == 2
    assert "holds something else" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
