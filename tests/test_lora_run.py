"""`pronghorn run` with adapters: real processes, a tiny model, from the warm start to the export."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

from common.metrics import read_metrics
from common.run_directory import RunDirectory

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[1]
STEPS = 4
COMMAND = [
    *(sys.executable, "-m", "launch.cli", "run", "configs/debug.toml", "--model.lora.rank=8"),
    *(f"--learner.steps={STEPS}", "--learner.learning_rate=1e-2", "--learner.loss.entropy=0.1"),
    *("--learner.staleness.max_staleness=0", "--learner.checkpoint_every=2", "--monitor.wandb=off"),
    *("--actor.num_actors=1", "--evaluation.num_tasks=2", "--sft.steps=2", "--sft.num_demonstrations=8"),
]


def ran(directory: Path, kind: str, *overrides: str) -> RunDirectory:
    """The folder of a finished run."""
    where = (f"--run.directory={directory}", f"--actor.engine.kind={kind}")
    done = subprocess.run(
        [*COMMAND, *where, *overrides], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "held-out after" in done.stdout
    return RunDirectory(directory / "debug")


@pytest.mark.parametrize("kind", [pytest.param("vllm", marks=pytest.mark.vllm), "transformers"])
def test_a_run_trains_adapters_serves_every_version_and_exports_a_whole_model(
    tmp_path: Path, kind: str
) -> None:
    folder = ran(tmp_path, kind)
    log = (folder.logs / "actor-0.log").read_text()
    for version in range(STEPS + 1):
        assert f"loaded version={version} " in log
    assert "refused=" not in log
    # Nothing is stale here: every token was sampled with the very weights that the step began with.
    rows = [row for row in read_metrics(folder.metrics) if "train/mismatch_kl" in row]
    assert len(rows) == STEPS
    assert all(row["train/mismatch_kl"] < 1e-6 for row in rows)
    before = load_file(folder.policy_zero / "model.safetensors")
    after = load_file(folder.final_model / "model.safetensors")
    moved = {name: float((after[name] - before[name]).abs().max()) for name in before}
    assert all((change > 1e-3) == ("_proj" in name) for name, change in moved.items()), moved
    adapter = folder.final_model / "adapter"
    assert json.loads((adapter / "adapter_config.json").read_text())["r"] == 8
    assert all("lora_" in name for name in load_file(adapter / "adapter_model.safetensors"))


def test_a_run_with_adapters_goes_on_where_it_was(tmp_path: Path) -> None:
    ran(tmp_path, "transformers", "--learner.steps=2")
    folder = ran(tmp_path, "transformers")
    assert "resumed checkpoint=step-000002" in (folder.logs / "learner.log").read_text()
    assert json.loads(folder.summary.read_text())["steps"] == STEPS
