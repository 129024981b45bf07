"""Each way to damage a run is found, and found as that and nothing else."""

import json
import os
import random
import shutil
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import pytest

from common.errors import LedgerError
from common.run_directory import RunDirectory
from launch.cli import main
from launch.fsck import as_lines, as_values
from learner.fsck import bias
from learner.fsck.evidence import opened
from learner.fsck.examine import Report, examine
from learner.fsck.stored import Lengths
from learner.ledger import Ledger
from learner.ledger_reader import LedgerReader
from learner.task_order import TaskOrder
from tests.learner.damages import DAMAGES, TASKS, page_lost, sound_run

NOBODY = 65534
"""An account that may write nothing."""


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sound_run(tmp_path_factory.mktemp("runs"))


def test_an_undamaged_run_has_no_finding(sound: Path) -> None:
    report = examine(RunDirectory(sound))
    assert report.violations == ()
    assert not any(invariant.checked.skipped for invariant in report.invariants)
    assert {i.name: i.checked.number for i in report.invariants} == {
        "file": 1,
        "leases": 11,
        "attempts": 9,
        "groups": 5,
        "stored": 8,
        "steps": 2,
        "tokens": 2,
        "evaluations": 1,
        "tasks": 4,
        "checkpoints": 1,
    }
    assert report.counts["leases"] == {"faulted": 2, "out": 1, "submitted": 8}


def damaged(sound: Path, folder: Path, edit: str | Callable[[Path], None]) -> Report:
    shutil.copytree(sound, folder)
    if isinstance(edit, str):
        with sqlite3.connect(folder / "ledger.sqlite") as db:
            db.executescript(edit)
    else:
        edit(folder)
    return examine(RunDirectory(folder))


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_found_and_nothing_else(sound: Path, tmp_path: Path, name: str) -> None:
    damage = DAMAGES[name]
    report = damaged(sound, tmp_path / "run", damage.edit)
    order = TaskOrder(TASKS, 3).take(0, 4, 0)
    which = 2 if "record" in name else 3
    expected = [line.replace("task-TASK", order[which].task) for line in damage.found]
    assert list(report.violations) == [line.replace("SEED", str(order[3].seed)) for line in expected]


def test_a_file_that_lost_a_page_is_broken_and_everything_readable_is_still_looked_at(
    sound: Path, tmp_path: Path
) -> None:
    report = damaged(sound, tmp_path / "run", page_lost)
    assert report.violations[0].startswith("file: ")
    assert {"steps", "tokens", "tasks"} <= {i.name for i in report.invariants if i.checked.number}


def test_whatever_rots_there_is_a_report_or_one_line(sound: Path, tmp_path: Path) -> None:
    rng = random.Random(1)
    for number in range(120):
        folder = shutil.copytree(sound, tmp_path / str(number))
        (rotted if number % 2 else retyped)(folder / "ledger.sqlite", rng)
        with suppress(LedgerError):
            report = examine(RunDirectory(folder))
            assert as_lines(report)
            assert json.dumps(as_values(report))


def rotted(file: Path, rng: random.Random) -> None:
    content = bytearray(file.read_bytes())
    for _ in range(rng.choice([1, 3, 30])):
        content[rng.randrange(len(content))] = rng.randrange(256)
    file.write_bytes(content)


def retyped(file: Path, rng: random.Random) -> None:
    """A value of any kind, in any column of any row."""
    with closing(sqlite3.connect(file)) as db:
        tables = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        table = rng.choice(tables)
        column = rng.choice([row[1] for row in db.execute(f"PRAGMA table_info({table})")])
        row = rng.choice([row for (row,) in db.execute(f"SELECT rowid FROM {table}")])
        value = rng.choice(["", "{", '["a"]', '{"a": "b"}', -1, 1 << 40, 0.5, b"\xff"])
        with suppress(sqlite3.IntegrityError):
            db.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", (value, row))
            db.commit()


def test_the_exit_code_says_whether_the_promises_were_kept(
    sound: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fsck", str(sound)]) == 0
    assert "all invariants hold" in capsys.readouterr().out
    damaged(sound, tmp_path / "run", DAMAGES["bytes that rotted"].edit)
    assert main(["fsck", str(tmp_path / "run"), "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert [i["violations"] for i in told["invariants"] if i["name"] == "stored"] == [
        ["trajectory 2/0: its bytes do not match their checksum"]
    ]
    assert main(["fsck", str(tmp_path)]) == 2
    assert "holds no run" in capsys.readouterr().err


@pytest.mark.parametrize("state", ["finished", "live", "killed"])
def test_nothing_is_written_into_a_run_that_is_looked_at(sound: Path, tmp_path: Path, state: str) -> None:
    folder = shutil.copytree(sound, tmp_path / "run")
    ledger = Ledger(folder / "ledger.sqlite", "test")
    ledger.end_all_leases("restarted")
    if state == "killed":
        folder = shutil.copytree(folder, tmp_path / "killed")
    if state != "live":
        ledger.close()
    before = contents(folder)
    assert any(name.endswith("-wal") for name in before) == (state != "finished")
    assert examine(RunDirectory(folder)).counts["leases"]["restarted"] == 1
    with LedgerReader(folder / "ledger.sqlite") as reader:
        assert len(reader.steps()) == 2
    assert contents(folder) == before
    ledger.close()


def test_a_run_of_another_account_is_read_where_nothing_can_be_written(sound: Path) -> None:
    with tempfile.TemporaryDirectory() as public:
        folder = shutil.copytree(sound, Path(public) / "run")
        for path in (Path(public), *folder.rglob("*"), folder):
            path.chmod(0o555)
        child = os.fork()
        if not child:
            code = 1
            try:
                os.setuid(os.getuid() or NOBODY)
                code = len(examine(RunDirectory(folder)).violations)
            finally:
                os._exit(code)
        assert os.waitpid(child, 0)[1] == 0
        assert not list(folder.glob("*-wal"))
        for path in (Path(public), *folder.rglob("*"), folder):
            path.chmod(0o755)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file and its bytes, but those of the one that SQLite's readers share."""
    files = {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return {name: b"" if name.endswith("-shm") else content for name, content in files.items()}


def test_a_ledger_of_an_older_release_is_judged_by_what_it_records(sound: Path, tmp_path: Path) -> None:
    report = damaged(
        sound,
        tmp_path / "run",
        "ALTER TABLE steps DROP COLUMN groups_json; ALTER TABLE trajectories DROP COLUMN checksum;"
        "DELETE FROM meta WHERE key = 'format';"
        "UPDATE leases SET ended = '' WHERE group_id = 3 AND member = 1",
    )
    assert report.violations == ()


def test_the_outboxes_are_listed_with_what_waits_and_what_was_refused(sound: Path, tmp_path: Path) -> None:
    def left(folder: Path) -> None:
        (folder / "outbox" / "actor-0").mkdir(parents=True)
        for name in ("lock", "1-0-0", "12-3-4", "5-0-0.refused"):
            (folder / "outbox" / "actor-0" / name).touch()

    assert damaged(sound, tmp_path / "run", left).outboxes == {"actor-0": (2, 1)}


def test_drops_that_favour_short_episodes_more_than_reported_are_a_warning(
    sound: Path, tmp_path: Path
) -> None:
    lengths = {"toy": Lengths(trained=Counter({0: 90, 2: 10}))}
    lengths["toy"].dropped["stale"] = Counter({2: 100})
    shutil.copytree(sound, tmp_path / "run")

    with opened(RunDirectory(tmp_path / "run")) as run:
        assert bias.warnings(run, lengths) == [
            "toy: dropping moved the lengths of trained episodes by 0.45 (total variation);"
            " the metrics report 0.00"
        ]
    ledger = Ledger(tmp_path / "run" / "ledger.sqlite", "test")
    curves = {"length/admitted/up_to_2": 90, "length/admitted/up_to_8": 110}
    curves |= {"length/trained/up_to_2": 90, "length/trained/up_to_8": 10}
    ledger.record_step_values(1, {name: float(number) for name, number in curves.items()})
    ledger.close()
    with opened(RunDirectory(tmp_path / "run")) as run:
        assert bias.warnings(run, lengths) == []


def test_a_folder_without_a_ledger_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="holds no run"):
        examine(RunDirectory(tmp_path))
