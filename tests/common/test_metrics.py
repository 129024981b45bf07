"""Curves survive crashes and resumes, and wandb is never more than a copy."""

import json
import resource
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from common.errors import PreflightError
from common.metrics import MetricsWriter, effective_mode, read_metrics
from common.run_directory import RunDirectory


def writer(folder: RunDirectory, mode: str = "off") -> MetricsWriter:
    return MetricsWriter(folder, wandb_mode=mode, project="p", name="n", config={"a": {"b": 1}})  # type: ignore[arg-type]


def test_a_line_has_step_time_and_values(tmp_path: Path) -> None:
    folder = RunDirectory(tmp_path)
    curves = writer(folder)
    curves.write({"train/success": 0.5, "train/grad_norm": float("inf")}, 3)
    # Read before closing: a crash now would lose nothing.
    (row,) = read_metrics(folder.metrics)
    curves.close()
    assert row.pop("time") > 0
    assert row == {"step": 3, "train/success": 0.5, "train/grad_norm": None}


def test_a_line_torn_by_a_crash_does_not_spoil_the_next(tmp_path: Path) -> None:
    folder = RunDirectory(tmp_path)
    folder.metrics.write_text('{"step": 1}\n{"step": 2, "tra')
    curves = writer(folder)
    curves.write({}, 3)
    curves.close()
    assert [row["step"] for row in read_metrics(folder.metrics)] == [1, 3]


def test_what_the_disk_refuses_is_one_clear_line(tmp_path: Path) -> None:
    folder = RunDirectory(tmp_path)
    curves = writer(folder)
    curves.write({"train/success": 0.5}, 1)
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (folder.metrics.stat().st_size + 5, unlimited[1]))
    try:
        with pytest.raises(
            PreflightError, match=r"metrics\.jsonl: the metrics cannot be written: File too l"
        ):
            curves.write({"train/success": 0.6}, 2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
    curves.close()
    assert [row["step"] for row in read_metrics(folder.metrics)] == [1]


def test_there_are_no_metrics_before_the_first(tmp_path: Path) -> None:
    assert read_metrics(tmp_path / "none.jsonl") == []


def test_auto_is_online_only_with_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    assert effective_mode("auto") == "offline"
    monkeypatch.setenv("WANDB_API_KEY", "x")
    assert effective_mode("auto") == "online"
    assert effective_mode("off") == "off"


@pytest.mark.slow
def test_wandb_offline_stays_in_the_run_folder_and_keeps_its_identity(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    # wandb advertises another product to programs that have imported certain packages; vLLM imports this one.
    monkeypatch.setitem(sys.modules, "openai", ModuleType("openai"))
    folder = RunDirectory(tmp_path)
    for step in range(2):
        curves = writer(folder, "auto")
        curves.write({"train/success": 0.5}, step)
        curves.close()
    identity = (tmp_path / "wandb_id").read_text().strip()
    runs = list((tmp_path / "wandb").glob("offline-run-*"))
    assert len(runs) == 2
    assert all(identity in run.name for run in runs)  # of two in one second the later has a suffix
    assert capfd.readouterr() == ("", "")
    assert [json.loads(line)["step"] for line in folder.metrics.read_text().splitlines()] == [0, 1]


def test_the_service_of_another_process_is_never_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("WANDB_SERVICE", "nowhere-at-all")
    program = "; ".join(
        [
            "from pathlib import Path",
            "from common.metrics import MetricsWriter",
            "from common.run_directory import RunDirectory",
            f"folder = RunDirectory(Path({str(tmp_path)!r}))",
            "MetricsWriter(folder, wandb_mode='offline', project='p', name='n', config={}).close()",
        ]
    )
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert list((tmp_path / "wandb").glob("offline-run-*"))
