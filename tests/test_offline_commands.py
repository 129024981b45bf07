"""The offline commands as a user types them: tiny model, real hub, real engine, processes of their own."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from common import json_rows
from common.run_directory import RunDirectory
from learner.ledger import Ledger

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[1]
CONFIG = """
[run]
name = "offline"
[model]
source = "small"
[model.small]
hidden_size = 32
intermediate_size = 64
num_layers = 1
num_heads = 2
num_kv_heads = 2
max_length = 512
[tasks]
environment = "guess_number"
action_format = "plain"
num_train = 6
[sampling]
max_action_tokens = 4
max_episode_tokens = 256
[actor]
max_sessions = 16
[actor.engine]
kind = "transformers"
max_model_len = 512
max_num_seqs = 16
[horizon]
rounds = [8]
[sft]
num_demonstrations = 24
steps = 100
batch_tokens = 512
learning_rate = 1e-2
[evaluation]
num_tasks = 4
[evol]
iterations = 1
samples_per_task = 3
steps = 20
[monitor]
wandb = "off"
"""


def pronghorn(directory: Path, command: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    file = directory / "run.toml"
    file.write_text(CONFIG)
    return subprocess.run(
        [sys.executable, "-m", "launch.cli", command, str(file), f"--run.directory={directory}", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def evolved(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    directory = tmp_path_factory.mktemp("runs")
    done = pronghorn(directory, "evol")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "agentevol, weighted: offline" in done.stdout
    return RunDirectory(directory / "offline")


def test_an_iteration_leaves_its_set_its_model_and_its_heldout_success(evolved: RunDirectory) -> None:
    first = evolved.path / "evol" / "iteration-01"
    counts = json.loads((first / "counts.json").read_text())
    rows = [value for _, _, value in json_rows.scan(first / "set.jsonl")]
    assert counts["explored"] == 6 * 3
    assert len(rows) == counts["examples"] == 24 + counts["kept"]
    learnt = [row for row in rows if row.get("source") == "explored"]
    assert len(learnt) == counts["kept"] > 0
    assert all(0 < row["episode_return"] <= 1 for row in learnt)
    assert json.loads((first / "heldout.json").read_text())["num_tasks"] == 4
    base, trained = (
        load_file(folder / "model.safetensors") for folder in (evolved.warm_start, first / "model")
    )
    assert any(not torch.equal(base[name], trained[name]) for name in base)


def test_the_same_command_again_makes_nothing_again_and_one_iteration_more_goes_on(
    evolved: RunDirectory,
) -> None:
    first = evolved.path / "evol" / "iteration-01"
    before = {file: file.stat().st_mtime_ns for file in first.rglob("*") if file.is_file()}
    again = pronghorn(evolved.path.parent, "evol")
    assert again.returncode == 0, again.stderr
    (first / "model" / "model.safetensors").unlink()
    (first / "model").rename(first / "lost")
    more = pronghorn(evolved.path.parent, "evol", "--evol.samples_per_task=4")
    assert more.returncode == 2
    assert "evol.samples_per_task = 4: the training in" in more.stderr
    resumed = pronghorn(evolved.path.parent, "evol")
    assert resumed.returncode == 0, resumed.stderr
    assert (first / "model" / "model.safetensors").exists()
    unchanged = [file for file in before if file.parent == first]
    assert {file: file.stat().st_mtime_ns for file in unchanged} == {file: before[file] for file in unchanged}
    ledger = Ledger(evolved.path / "evol" / "ledger.sqlite", "offline")
    assert len(ledger.rows("SELECT * FROM trajectories")) == 6 * 3
    ledger.close()


def test_dpo_finds_its_pairs_in_what_was_explored(evolved: RunDirectory) -> None:
    done = pronghorn(evolved.path.parent, "dpo", "--dpo.learning_rate=1e-4", "--dpo.pairs_per_step=4")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "pairs of 6 tasks; left out:" in done.stdout
    assert (evolved.path / "dpo" / "config.json").exists()
    pairs = [value for _, _, value in json_rows.scan(evolved.path / "data" / "pairs.jsonl")]
    assert all(pair["chosen"]["episode_return"] > pair["rejected"].get("episode_return", 0) for pair in pairs)


def test_two_ranks_learn_what_one_learns(tmp_path: Path, evolved: RunDirectory) -> None:
    """SFT on given data, then DPO: the parameters agree within 2e-4 after steps of about 0.01 each."""
    models = []
    for num_ranks in (1, 2):
        directory = tmp_path / str(num_ranks)
        directory.mkdir()
        done = pronghorn(
            directory,
            "sft",
            f"--data={evolved.demonstrations}",
            f"--learner.num_ranks={num_ranks}",
            "--sft.num_demonstrations=0",
            "--sft.steps=10",
            "--sft.epsilon=1e-3",
            "--learner.device=cpu",
        )
        assert done.returncode == 0, done.stdout + done.stderr
        preferred = pronghorn(
            directory,
            "dpo",
            f"--ledger={evolved.path / 'evol' / 'ledger.sqlite'}",
            f"--learner.num_ranks={num_ranks}",
            "--sft.num_demonstrations=0",
            "--sft.steps=10",
            "--sft.epsilon=1e-3",
            "--learner.device=cpu",
            "--dpo.learning_rate=1e-2",
            "--dpo.epsilon=1e-3",
            "--dpo.pairs_per_step=4",
            "--dpo.epochs=1",
        )
        assert preferred.returncode == 0, preferred.stdout + preferred.stderr
        folder = directory / "offline"
        models.append(
            {
                f"{product}.{name}": weight
                for product in ("warm_start", "dpo")
                for name, weight in load_file(folder / product / "model.safetensors").items()
            }
        )
    for name, weight in models[0].items():
        torch.testing.assert_close(
            models[1][name], weight, atol=2e-4, rtol=0, msg=lambda m, n=name: f"{n}: {m}"
        )
