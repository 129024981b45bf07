"""`pronghorn sft` and `pronghorn dpo`: what they refuse before anything is made, and how they are started."""

import json
from pathlib import Path

import pytest

from common import agenttraj
from common.errors import ConfigurationError
from launch import roles
from launch.cli import main
from launch.offline import hold_to, refuse_without_data
from tests.launch.making import run_config

CONFIG = """
[model]
source = "small"
[tasks]
environment = "guess_number"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    written = tmp_path / "run.toml"
    written.write_text(CONFIG)
    return written


BAD = [
    (["sft"], "sft.num_demonstrations = 0: nothing to imitate"),
    (["sft", "--data", "none.json"], "none.json: no such file"),
    (["sft", "--sft.validation_share=1"], "sft.validation_share = 1"),
    (["dpo", "--dpo.beta=0"], "dpo.beta = 0"),
    (["dpo", "--dpo.min_gap=0"], "dpo.min_gap = 0"),
    (["dpo", "--dpo.loss=hinge"], "dpo.loss = 'hinge'"),
    (["dpo", "--pairs", "none.jsonl"], "--pairs=none.jsonl: no such file"),
    (["dpo", "--data", "none.json"], "--data=none.json: no such file"),
    (["dpo", "--ledger", "none.sqlite"], "--ledger=none.sqlite: no such file"),
    (["dpo", "--model", "none"], "--model=none: not a model folder"),
    (["evol", "--evol.objective=best"], "evol.objective = 'best'"),
    (["evol", "--evol.iterations=0"], "evol.iterations = 0"),
    (["evol", "--evol.samples=3"], "evol.samples = 3: unknown key"),
]


@pytest.mark.parametrize(("arguments", "line"), BAD, ids=[line for _, line in BAD])
def test_a_mistake_is_one_line_and_nothing_is_made(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], line: str
) -> None:
    command, *others = arguments
    assert main([command, str(file), *others, f"--run.directory={tmp_path / 'runs'}"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("pronghorn: ")
    assert line in said
    assert said.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_other_data_than_the_run_began_with_are_refused(tmp_path: Path) -> None:
    config = run_config(tmp_path)
    files = [tmp_path / name for name in ("one.json", "two.json")]
    for path in files:
        agenttraj.write(path, [agenttraj.demonstration(path.stem, "", [("seen", "done")])])
    known = config.run.folder.demonstrations
    known.parent.mkdir(parents=True)
    known.write_bytes(files[0].read_bytes())
    refuse_without_data(config, files[0])
    refuse_without_data(config, None)
    with pytest.raises(ConfigurationError, match=r"two\.json: the run in .* has other demonstrations"):
        refuse_without_data(config, files[1])


def test_a_broken_row_of_given_data_is_refused_before_the_run_begins(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data.jsonl"
    good = agenttraj.row_of(agenttraj.demonstration("a", "", [("seen", "done")]))
    data.write_text(json.dumps(good) + '\n{"item_id": "b"}\n')
    assert main(["sft", str(file), f"--data={data}", f"--run.directory={tmp_path / 'runs'}"]) == 2
    assert "data.jsonl: line 2: row 1: " in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_a_training_goes_on_with_the_settings_it_began_with_and_no_others(tmp_path: Path) -> None:
    file = tmp_path / "settings.json"
    hold_to(file, {"dpo.beta": 0.1, "options": ("--data=x",)})
    hold_to(file, {"dpo.beta": 0.1, "options": ("--data=x",)})
    with pytest.raises(ConfigurationError, match=r"dpo\.beta = 0\.2: the training in .* began with 0\.1"):
        hold_to(file, {"dpo.beta": 0.2, "options": ("--data=x",)})


def test_one_rank_is_a_process_of_its_own_and_several_come_from_torchrun(tmp_path: Path) -> None:
    alone = roles.trainer(run_config(tmp_path), "dpo", ["--pairs=p"])
    assert alone.arguments[1:3] == ("-m", "learner.offline.dpo")
    assert alone.arguments[-1] == "--pairs=p"
    ranked = roles.trainer(run_config(tmp_path, learner={"num_ranks": 2}), "sft", name="evol-01")
    assert ranked.arguments[1:3] == ("-m", "torch.distributed.run")
    assert ("--nproc-per-node", "2") in list(zip(ranked.arguments, ranked.arguments[1:], strict=False))
    assert ranked.name == "evol-01"
    assert ranked.log.name == "evol-01.log"
