"""The command answers every mistake with one line and the right exit code, and starts fast."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from launch.cli import main, split_overrides

ROOT = Path(__file__).parents[2]
GOOD = """
[model]
source = "small"
[tasks]
environment = "guess_number"
[sft]
num_demonstrations = 3
"""


@pytest.fixture
def good(tmp_path: Path) -> Path:
    file = tmp_path / "good.toml"
    file.write_text(GOOD)
    return file


BAD = [
    ("--learner.stepss=3", 2, "learner.stepss = 3: unknown key"),
    ("--learner.steps=many", 2, "learner.steps = 'many'"),
    ("--sampling.top_p=0.9", 2, "sampling.top_p = 0.9"),
    ("--learner.group_size=1", 2, "group_size = 1: grpo compares"),
    ("--horizon.rounds=[]", 2, "rounds is empty"),
    ("--horizon.rounds=[8,4]", 2, "strictly rising"),
    ("--tasks.environment=texcraft", 2, "did you mean 'textcraft'"),
    ("--learner.steps", 2, "an override has the form --section.field=value"),
    ("--evaluation.num_tasks=-1", 2, "evaluation.num_tasks = -1"),
    ("--evaluation.num_tasks=9999", 2, "evaluation.num_tasks = 9999: the test split has"),
    ("--tasks.depths=[9]", 2, "tasks.depths = [9]: guess_number has no such training task"),
    ("--sft.depths=[9]", 2, "sft.depths = [9]: no training task"),
    ("--learner.steps=1000000000000", 1, "no space"),
    ("--bus.host=::1", 1, "bus.host = '::1': cannot be bound"),
]


@pytest.mark.parametrize(("override", "code", "line"), BAD)
def test_a_bad_setting_is_one_line_and_an_exit_code(
    good: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], override: str, code: int, line: str
) -> None:
    assert main(["run", str(good), f"--run.directory={tmp_path / 'runs'}", override]) == code
    said = capsys.readouterr().err
    assert said.startswith("pronghorn: ")
    assert line in said
    assert said.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_a_missing_configuration_file_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", str(tmp_path / "none.toml")]) == 2
    assert "none.toml: no such configuration file" in capsys.readouterr().err


def test_a_broken_configuration_file_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "broken.toml").write_text("[model\n")
    assert main(["run", str(tmp_path / "broken.toml")]) == 2
    assert "broken.toml: " in capsys.readouterr().err


def test_a_missing_model_path_exits_with_1(
    good: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["run", str(good), f"--run.directory={tmp_path / 'runs'}"]
    assert main([*arguments, "--model.source=path", f"--model.path={tmp_path / 'nowhere'}"]) == 1
    assert "nowhere': no such folder" in capsys.readouterr().err


def test_an_occupied_port_exits_with_1(
    good: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        assert main(["run", str(good), f"--run.directory={tmp_path / 'runs'}", f"--hub.port={port}"]) == 1
    assert f"hub.port = {port}" in capsys.readouterr().err


def test_later_files_and_overrides_win(good: Path, tmp_path: Path) -> None:
    assert split_overrides(["run", "a.toml", "--run.name=x", "b.toml", "--out", "f"]) == (
        ["run", "a.toml", "b.toml", "--out", "f"],
        ["--run.name=x"],
    )


def test_demonstrations_are_written_where_they_were_asked_for(
    good: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "deep" / "expert.json"
    assert main(["data", "expert", str(good), f"--out={out}"]) == 0
    assert out.exists()
    assert "3 demonstrations" in capsys.readouterr().out


def test_the_version_is_told_without_importing_anything_heavy() -> None:
    code = (
        "import sys; from launch.cli import main; main(['version']); "
        "print(sorted({'pydantic', 'torch', 'aiohttp', 'rich', 'numpy'} & set(sys.modules)))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert told.stdout.splitlines()[0].startswith("pronghorn ")
    assert told.stdout.splitlines()[1] == "[]"


def test_the_doctor_names_what_it_found(capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["doctor"])
    told = capsys.readouterr().out
    assert code in (0, 1)
    for part in ("Python", "cores", "/dev/shm", "GPU", "torch", "vLLM", "flash-attn", "Java", "wandb key"):
        assert part in told
