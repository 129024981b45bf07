"""`pronghorn data`: files are checked, converted and looked up; a mistake is one line, nothing half made."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from common import agenttraj
from launch.cli import main

HUMAN = {"from": "human", "loss": None, "value": "what you see"}
GPT = {"from": "gpt", "loss": True, "value": "go"}
ALFWORLD = "pick_and_place_simple-Mug-None-Desk-3_trial_T20190908_010101_043461"


def played(item_id: str, **more: Any) -> dict[str, Any]:
    return {"conversations": [HUMAN, GPT], "item_id": item_id, **more}


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a file of each kind; where commands are typed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ALFWORLD_DATA", raising=False)
    texts = [
        played("sciworld_3", reward=100, success=0),
        played("sciworld_3", reward=40.0, success=False),
        played("maze_1", reward=1.0, success=True),
        played("maze_1", reward=-1.0, success=True),
    ]
    (tmp_path / "traj.json").write_text(json.dumps(texts))
    (tmp_path / "eval.json").write_text(json.dumps([{"conversations": None, "item_id": "maze_1"}]))
    (tmp_path / "ids.jsonl").write_text('{"item_id": "maze_1"}\n{"item_id": "wordle_2"}\n')
    (tmp_path / "broken.json").write_text(
        json.dumps(
            [played("maze_1"), {"item_id": "maze_1"}, played("maze_2"), {**played("maze_3"), "a": 1}],
            indent=0,
        )
    )
    return tmp_path


def run(*arguments: str) -> int:
    return main(["data", *arguments])


def rows(path: Path) -> Any:
    return json.loads(path.read_text())


def test_a_whole_file_is_described(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("check", "traj.json") == 0
    assert capsys.readouterr().out.splitlines() == [
        "traj.json: agenttraj, 4 rows kept, 0 left out",
        "  maze: 2",
        "  sciworld: 2",
        "  texts of the model: 4, learnt 4",
        "  tasks: 4 rows name one, 0 none that is known here",
    ]


def test_broken_rows_are_listed_with_their_lines(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("check", "broken.json") == 1
    said = capsys.readouterr()
    assert said.out.startswith("broken.json: agenttraj, 2 rows kept, 2 left out\n")
    assert said.err.splitlines() == [
        "  line 17: row 1: is ids; the file began as agenttraj",
        "  line 35: row 3: a = '1': unknown key",
    ]


def test_ids_without_a_task_here_are_told(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (made / "far.jsonl").write_text(
        "".join(f'{{"item_id": "{i}"}}\n' for i in ("maze_99", ALFWORLD, "x", "maze_1"))
    )
    assert run("check", "far.jsonl") == 1
    said = capsys.readouterr().out
    assert "  alfworld: 1\n  maze: 2\n  not told by the id: 1\n" in said
    assert "  tasks: 1 rows name one, 3 none that is known here\n" in said
    assert "environment maze has the tasks 0 to 24" in said
    assert "$ALFWORLD_DATA, which is not set" in said
    assert "item_id = 'x': of no environment that is known" in said


@pytest.mark.parametrize("form", ["agenttraj", "agenteval", "ids"])
@pytest.mark.parametrize("out", ["out.json", "out.jsonl"])
def test_trajectories_become_every_form_and_layout(made: Path, form: str, out: str) -> None:
    assert run("convert", "traj.json", f"--out={out}", f"--to={form}") == 0
    text = (made / out).read_text()
    found = [json.loads(line) for line in text.splitlines()] if out.endswith("l") else json.loads(text)
    expected: dict[str, list[dict[str, Any]]] = {
        "agenttraj": [
            {**row, "success": bool(row["success"]), "reward": float(row["reward"])}
            for row in rows(made / "traj.json")
        ],
        "agenteval": [{"conversations": None, "item_id": i} for i in ("sciworld_3", "maze_1")],
        "ids": [{"item_id": i} for i in ("sciworld_3", "maze_1")],
    }
    assert found == expected[form]


def test_successes_are_the_environments_own(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """SciWorld is solved at 100, the maze at 1, whatever `success` the file claims."""
    assert run("convert", "traj.json", "--out=good.json", "--successes-only") == 0
    assert [(row.item_id, row.reward) for row in agenttraj.read(made / "good.json")] == [
        ("sciworld_3", 100.0),
        ("maze_1", 1.0),
    ]
    assert "2 rows of agenttraj in good.json, 2 not successful" in capsys.readouterr().out


def test_a_broken_row_refuses_the_file_or_is_left_out_and_counted(
    made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("convert", "broken.json", "--out=out.json") == 2
    said = capsys.readouterr().err
    assert said == (
        "pronghorn: broken.json: line 17: row 1: is ids; the file began as agenttraj; "
        "2 of 4 rows are broken\n"
    )
    assert not (made / "out.json").exists()
    assert run("convert", "broken.json", "--out=out.json", "--on-error=skip") == 0
    said_now = capsys.readouterr()
    assert "2 rows of agenttraj in out.json, 2 broken rows left out" in said_now.out
    assert "line 35: row 3: a = '1': unknown key" in said_now.err
    assert [row.item_id for row in agenttraj.read(made / "out.json")] == ["maze_1", "maze_2"]


def test_converting_there_and_back_changes_nothing(made: Path) -> None:
    run("convert", "traj.json", "--out=a.jsonl")
    run("convert", "a.jsonl", "--out=b.json")
    run("convert", "b.json", "--out=c.jsonl")
    assert (made / "a.jsonl").read_text() == (made / "c.jsonl").read_text()


def test_ids_are_looked_up(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("tasks", "ids.jsonl", "eval.json") == 0
    assert capsys.readouterr().out.splitlines() == [
        "maze: 1 tasks of the split unseen",
        "wordle: 1 tasks of the split test",
        'pronghorn: 2 tasks; train on them with tasks.train_items = ["ids.jsonl", "eval.json"]',
    ]
    assert run("tasks", "ids.jsonl", "--list") == 0
    assert capsys.readouterr().out == "maze_1\tmaze\tlmrl-01\tunseen\nwordle_2\twordle\tlmrl-000002\ttest\n"


BAD = [
    (["check", "none.json"], "none.json: no such file"),
    (["check", "traj.json", "--environment=mase"], "did you mean 'maze'?"),
    (["convert", "eval.json", "--out=o.json", "--to=agenttraj"], "eval.json: is agenteval, without texts"),
    (
        ["convert", "ids.jsonl", "--out=o.json", "--successes-only"],
        "ids.jsonl: is ids, without texts or rewards",
    ),
    (["convert", "traj.json", "--out=traj.json"], "--out=traj.json: is the file that is read"),
    (
        ["convert", "broken.json", "--out=o.json", "--on-error=skip", "--successes-only"],
        "maze_1': has no reward",
    ),
    (["convert", "traj.json", "--out=traj.json/o.json"], "traj.json/o.json: cannot be written"),
    (
        ["convert", "traj.json", "--out=o.json", "--x.y=1"],
        "--x.y=1: `pronghorn data convert` reads no config",
    ),
    (
        ["tasks", "ids.jsonl", "--environment=maze"],
        "ids.jsonl: task = 'wordle_2': environment maze has no such",
    ),
    (["tasks", "broken.json"], "line 17: row 1"),
]


@pytest.mark.parametrize(("arguments", "line"), BAD)
def test_a_mistake_is_one_line_and_writes_nothing(
    made: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], line: str
) -> None:
    before = sorted(made.iterdir())
    assert run(*arguments) == 2
    *_, last = capsys.readouterr().err.splitlines()
    assert last.startswith("pronghorn: ")
    assert line in last
    assert sorted(made.iterdir()) == before


def test_an_expert_writes_demonstrations(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (made / "run.toml").write_text('[model]\nsource = "small"\n[tasks]\nenvironment = "guess_number"\n')
    assert run("expert", "run.toml", "--out=e.json", "--sft.num_demonstrations=2") == 0
    assert run("check", "e.json", "--environment=guess_number") == 0
    assert "tasks: 2 rows name one, 0 none" in capsys.readouterr().out
    assert run("expert", "run.toml", "--out=e.json") == 2


def test_checking_a_file_imports_neither_torch_nor_pyarrow(made: Path) -> None:
    code = (
        "import sys; from launch.cli import main; main(['data', 'check', 'traj.json']);"
        "sys.exit(bool({'torch', 'pyarrow', 'transformers'} & set(sys.modules)))"
    )
    root = str(Path(__file__).parents[2])
    result = subprocess.run([sys.executable, "-c", code], check=False, env={"PYTHONPATH": root, "PATH": ""})
    assert result.returncode == 0
