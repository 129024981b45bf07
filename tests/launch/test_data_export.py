"""What is exported is what the ledger holds: every value, in every format, whole or not at all."""

import json
import os
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import tomli_w
from hypothesis import given, settings
from hypothesis import strategies as st

from common import agenttraj
from common.codec import pack
from common.trajectory import Member, TaskReference, Trajectory, Turn, VersionSpan
from envhub import registry
from launch import data_tables
from launch.cli import main
from launch.data_columns import COLUMNS, row_of, trajectory_of
from launch.data_items import resolve
from launch.data_tables import read_parquet
from learner.ledger import Ledger
from learner.ledger_reader import LedgerReader, Played, Selection
from tests import making
from tests.launch.making import run_config

TASK = TaskReference(environment="guess_number", task="number-003", seed=5, kind="number")
OTHER = TaskReference(environment="textcraft", task="textcraft_oak_boat")


def trajectory(
    group: int, member: int, reward: float, task: TaskReference = TASK, **changes: object
) -> Trajectory:
    return making.trajectory(group, member, reward=reward, num_turns=2, **changes).model_copy(
        update={"task": task, "identity": Member(run="trial", group=group, member=member)}
    )


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Three training groups of two (trained on, dropped, open) and two held-out episodes."""
    config = run_config(tmp_path)
    folder = config.run.folder
    folder.path.mkdir(parents=True)
    folder.config.write_text(tomli_w.dumps(config.model_dump(mode="json", exclude_none=True)))
    ledger = Ledger(folder.ledger, "trial")
    ledger.open_groups([TASK, OTHER, TASK], purpose="training", label="", horizon=5, size=2, version=0)
    ledger.open_groups([TASK, OTHER], purpose="evaluation", label="before", horizon=5, size=1, version=0)
    cut = making.turn(is_stopped=False, action="Action: gu", reward=-0.25, version=1)
    ledger.commit_submissions(
        [
            trajectory(0, 0, 1.0),
            trajectory(
                0, 1, 0.25, is_success=False, turns=(making.turn(), cut), outcome="truncated_by_tokens"
            ),
            trajectory(1, 0, 0.0, OTHER),
            trajectory(1, 1, 0.0, OTHER, turns=(), outcome="truncated_by_time"),
            trajectory(2, 1, 0.5),
            trajectory(3, 0, 1.0),
            trajectory(4, 0, 0.0, OTHER),
        ],
        version=3,
    )
    ledger.consume(1, [0], horizon=5, max_staleness=0, num_tokens=4)
    ledger.drop(1, "zero_variance", 2)
    ledger.close()
    return folder.path


def export(run: Path, out: Path, *arguments: str) -> int:
    return main(["data", "export", str(run), f"--out={out}", *arguments])


def in_ledger(run: Path, purpose: str = "training") -> list[Trajectory]:
    with LedgerReader(run / "ledger.sqlite") as ledger:
        return [played.trajectory for played in ledger.played(Selection(purpose))]  # type: ignore[arg-type]


def same(one: Trajectory, other: Trajectory) -> bool:
    """Equal in every field: the bytes of the ledger."""
    return pack(one) == pack(other)


def test_parquet_holds_every_trajectory_of_the_ledger_and_gives_it_back(run: Path, tmp_path: Path) -> None:
    assert export(run, tmp_path / "all.parquet", "--format=parquet", "--split=all") == 0
    expected = in_ledger(run) + in_ledger(run, "evaluation")
    found = list(read_parquet(tmp_path / "all.parquet"))
    assert len(found) == len(expected) == 7
    assert all(map(same, found, expected))
    rows = pq.read_table(tmp_path / "all.parquet").to_pylist()
    names = ("group", "member", "purpose", "label", "group_state", "drop_reason", "step")
    assert [tuple(row[name] for name in names) for row in rows] == [
        (0, 0, "training", "", "consumed", "", 1),
        (0, 1, "training", "", "consumed", "", 1),
        (1, 0, "training", "", "dropped", "zero_variance", 2),
        (1, 1, "training", "", "dropped", "zero_variance", 2),
        (2, 1, "training", "", "open", "", None),
        (3, 0, "evaluation", "before", "complete", "", None),
        (4, 0, "evaluation", "before", "complete", "", None),
    ]  # fmt: skip
    assert {r["received_version"] for r in rows} == {3}
    assert [(r["return"], r["score"], r["is_success"]) for r in rows[:2]] == [
        (1, 1, True),
        (-0.25, 0.25, False),
    ]


SPANS = st.lists(st.tuples(st.integers(0, 2), st.integers(1, 3)), max_size=3)


@settings(max_examples=30, deadline=None)
@given(turns=st.lists(st.tuples(st.integers(0, 4), SPANS, st.text(max_size=4)), max_size=4))
def test_a_row_gives_back_its_trajectory_whatever_its_turns_are(turns) -> None:
    made = []
    for num_prompt, spans, text in turns:
        # Neighbouring spans of one version are one span.
        merged: list[tuple[int, int]] = []
        for version, number in spans:
            if merged and merged[-1][0] == version:
                merged[-1] = (version, merged[-1][1] + number)
            else:
                merged.append((version, number))
        number = sum(n for _, n in merged)
        made.append(
            Turn(
                prompt_tokens=np.arange(num_prompt, dtype=np.int32),
                action_tokens=np.arange(100, 100 + number, dtype=np.int32),
                behaviour_logprobs=-np.random.default_rng(number).random(number, np.float32),
                versions=tuple(VersionSpan(version=v, num_tokens=n) for v, n in merged),
                is_stopped=bool(number % 2),
                observation=text,
                action=text,
                reward=num_prompt / 7,
                generation_s=0.1,
            )
        )
    one = trajectory(0, 0, 0.0, turns=tuple(made), next_prompt_tokens=np.arange(3, dtype=np.int32))
    row = row_of(Played(one, "training", "", "consumed", "", 4, 2))
    assert set(row) == {column.name for column in COLUMNS}
    assert same(trajectory_of(row), one)
    del row["ledger"]  # an export of an older release
    assert same(trajectory_of(row), one)


def test_a_row_whose_tokens_do_not_fit_its_turns_is_refused() -> None:
    row = row_of(Played(trajectory(0, 0, 1.0), "training", "", "consumed", "", 4, 2))
    with pytest.raises(ValueError, match="10 tokens, 5 logprobs; turns have 10 and 4"):
        trajectory_of(row | {"behaviour_logprobs": [*row["behaviour_logprobs"], -1.0]})


def test_agenttraj_holds_the_texts_and_leaves_cut_actions_unlearnt(run: Path, tmp_path: Path) -> None:
    assert export(run, tmp_path / "out.jsonl") == 0
    rows = agenttraj.read(tmp_path / "out.jsonl")
    played = [t for t in in_ledger(run) if t.turns]
    assert len(rows) == len(played) == 4
    for row, t in zip(rows, played, strict=True):
        environment = registry.environment(t.task.environment)
        assert row.instructions == environment.instructions("plain")
        assert [(seen, said) for seen, said, _ in row.turns] == [(x.observation, x.action) for x in t.turns]
        assert [is_learnt for _, _, is_learnt in row.turns] == [x.is_stopped for x in t.turns]
        assert (row.reward, row.success) == (t.score, t.is_success)
        item = resolve(row.item_id)
        assert (item.environment, item.task.name) == (t.task.environment, t.task.task)
    assert [row.item_id for row in rows[::2]] == ["guess_number::number-003", "textcraft_oak_boat"]


def test_what_is_left_out_is_said(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    export(run, tmp_path / "out.json")
    assert "4 trajectories (1 without a turn left out) in" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "number"),
    [
        (["--successes-only"], 2),
        (["--min-return=0"], 4),
        (["--min-return=0.5"], 2),
        (["--split=heldout"], 2),
        (["--split=heldout", "--successes-only"], 1),
        (["--split=all"], 7),
    ],
)
def test_selections_are_those_of_the_ledger(
    run: Path, tmp_path: Path, arguments: list[str], number: int
) -> None:
    assert export(run, tmp_path / "o.parquet", "--format=parquet", *arguments) == 0
    assert pq.read_metadata(tmp_path / "o.parquet").num_rows == number


def test_a_data_set_is_loaded_by_the_hugging_face_package(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(data_tables, "ROWS_PER_FILE", 2)
    assert export(run, tmp_path / "set", "--format=datasets", "--split=all") == 0
    files = sorted(file.name for file in (tmp_path / "set" / "data").iterdir())
    trained = [f"train-0000{i}-of-00003.parquet" for i in range(3)]
    assert files == ["test-00000-of-00001.parquet", *trained]
    for arguments in (
        {"path": str(tmp_path / "set")},
        {"path": "parquet", "data_dir": str(tmp_path / "set")},
    ):
        loaded = datasets.load_dataset(**arguments, cache_dir=str(tmp_path / "cache"))
        assert {split: len(rows) for split, rows in loaded.items()} == {"train": 5, "test": 2}
        assert all(map(same, map(trajectory_of, loaded["train"]), in_ledger(run)))


def test_the_card_names_splits_and_columns(run: Path, tmp_path: Path) -> None:
    export(run, tmp_path / "set", "--format=datasets")
    card = (tmp_path / "set" / "README.md").read_text()
    assert card.startswith("---\nconfigs:\n- config_name: default\n  data_files:\n  - split: train\n")
    assert "split: test" not in card
    assert "5 in `train`" in card
    assert all(f"| `{column.name}` |" in card for column in COLUMNS)


def test_exporting_changes_nothing_in_the_ledger_and_works_while_it_is_open(
    run: Path, tmp_path: Path
) -> None:
    writer = Ledger(run / "ledger.sqlite", "trial")
    before = writer.rows("SELECT * FROM groups")
    with LedgerReader(run / "ledger.sqlite") as reader:
        number = reader.count(Selection())
        writer.commit_submissions([trajectory(2, 0, 1.0)], version=3)
        assert len(list(reader.played(Selection()))) == number
    assert export(run, tmp_path / "o.parquet", "--format=parquet") == 0
    assert pq.read_metadata(tmp_path / "o.parquet").num_rows == number + 1
    assert [row[:9] for row in writer.rows("SELECT * FROM groups")] == [row[:9] for row in before]
    writer.close()


BAD = [
    ([], "no-run", 2, "no run has played here (there is no ledger.sqlite)"),
    (["--successes-only", "--split=heldout", "--out=file/out.json"], "run", 2, "cannot be written"),
    (["--min-return=99"], "run", 2, "no such trajectory; nothing was written"),
    (["--format=datasets", "--out=."], "run", 2, "--out=.: is there already"),
    (["--format=parquet", "--out=file/out.parquet"], "run", 2, "out.parquet: cannot be written"),
    (["--seed.x=1"], "run", 2, "--seed.x=1: `pronghorn data export` reads no configuration"),
]


@pytest.mark.parametrize(("arguments", "name", "code", "line"), BAD)
def test_what_cannot_be_exported_is_one_line_and_writes_nothing(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    arguments: list[str], name: str, code: int, line: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    before = sorted(tmp_path.iterdir())
    folder = run if name == "run" else tmp_path / name
    assert main(["data", "export", str(folder), "--out=out", *arguments]) == code
    said = capsys.readouterr().err
    assert line in said
    assert said.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == before


def test_a_broken_ledger_is_one_line(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (run / "ledger.sqlite").write_text("no ledger " * 500)
    for extra in ("-wal", "-shm"):
        (run / f"ledger.sqlite{extra}").unlink(missing_ok=True)
    assert export(run, tmp_path / "o.json") == 1
    assert "cannot read the ledger" in capsys.readouterr().err


def test_an_export_that_is_interrupted_leaves_what_was_there(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "o.parquet"
    out.write_text("older")

    def torn():
        yield Played(trajectory(0, 0, 1.0), "training", "", "consumed", "", 4, 2)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        data_tables.write_parquet(out, torn())
    assert out.read_text() == "older"
    assert not [name for name in os.listdir(tmp_path) if "unfinished" in name]


def test_a_file_of_another_schema_is_no_export(tmp_path: Path) -> None:
    import pyarrow as pa

    pq.write_table(pa.table({"a": [1]}), tmp_path / "a.parquet")
    with pytest.raises(ValueError, match="its format is ''"):
        next(read_parquet(tmp_path / "a.parquet"))
    (tmp_path / "b.parquet").write_text("text")
    with pytest.raises(ValueError, match="cannot be read as Parquet"):
        next(read_parquet(tmp_path / "b.parquet"))


def test_the_page_of_the_documentation_has_every_column() -> None:
    page = (Path(__file__).parents[2] / "docs" / "data.md").read_text()
    assert data_tables.columns_table() in page


def test_numbers_stay_json_numbers(run: Path, tmp_path: Path) -> None:
    export(run, tmp_path / "o.json")
    rows = json.loads((tmp_path / "o.json").read_text())
    assert set(rows[0]) == {"conversations", "item_id", "reward", "success"}
