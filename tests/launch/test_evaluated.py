"""Who is evaluated: checkpoints and live weights become model folders; what is not there is named."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tomli_w
import torch
from safetensors.torch import load_file

from common.errors import ConfigurationError, PreflightError
from common.model_config import SmallModel
from common.run_directory import RunDirectory
from common.weights.store import WeightStore, newest_version
from launch.cli import main, parser
from launch.config import RunConfig
from launch.evaluated import choose, latest, model_folder
from learner.checkpoint import CheckpointStore
from learner.model_source import make_small
from tests.launch.making import run_config
from tests.learner.checkpoints import written

SMALL = {"hidden_size": 32, "intermediate_size": 32, "num_layers": 1, "num_heads": 2, "num_kv_heads": 2}
WORDS = ["guess", "Higher", "Lower", "Correct", ".", "I", "think", "of", "a", "number", "between", "and"]


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    """A run with a model, before its first step."""
    config = run_config(
        tmp_path,
        model={"source": "small", "small": SMALL, "dtype": "bfloat16"},
        evaluation={"num_tasks": 2, "horizon": 2},
        sampling={"max_action_tokens": 4, "max_episode_tokens": 256},
        actor={"engine": {"kind": "transformers", "max_model_len": 256}},
    )
    folder = config.run.folder
    folder.path.mkdir(parents=True)
    folder.config.write_text(tomli_w.dumps(config.model_dump(mode="json", exclude_none=True)))
    words = [*WORDS, *map(str, range(65))]
    make_small(folder.model, SmallModel.model_validate(SMALL), words, dtype="bfloat16", seed=0)
    return folder


def checkpoint(run: RunDirectory, step: int, shift: float = 1.0) -> dict[str, torch.Tensor]:
    """A checkpoint whose weights are the model's plus `shift`, beside those of a critic; the former."""
    weights = {n: t.float() + shift for n, t in load_file(run.model / "model.safetensors").items()}
    critic = {"critic.head.weight": torch.zeros(1, 32)}
    written(CheckpointStore(run.checkpoints, keep=9), weights | critic, step)
    return weights


def options(*arguments: str) -> Any:
    return parser().parse_args(["eval", "config.toml", *arguments])


def chosen(run: RunDirectory, *arguments: str) -> Any:
    return choose(options(*arguments), run_config(run.path.parent))


def test_a_checkpoint_becomes_a_model_folder_of_the_runs_dtype(run: RunDirectory, tmp_path: Path) -> None:
    weights = checkpoint(run, 3)
    evaluated = chosen(run, f"--checkpoint={run.checkpoints / 'step-000003'}")
    assert (evaluated.kind, evaluated.version, evaluated.name) == ("checkpoint", 3, "trial-step-000003")
    with model_folder(evaluated, tmp_path / "scratch") as folder:
        written = load_file(folder / "model.safetensors")
        assert written.keys() == weights.keys()
        for name, tensor in written.items():
            assert tensor.dtype == torch.bfloat16
            assert torch.equal(tensor, weights[name].bfloat16())
        assert (folder / "tokenizer.json").exists()
    assert not (tmp_path / "scratch").exists()


def test_a_torn_checkpoint_is_told_in_one_line(run: RunDirectory, tmp_path: Path) -> None:
    checkpoint(run, 3)
    path = run.checkpoints / "step-000003"
    with (path / "rank-00000.safetensors").open("r+b") as file:
        file.seek(200)
        file.write(b"torn")
    evaluated = chosen(run, f"--checkpoint={path}")
    with pytest.raises(PreflightError, match=r"rank-00000\.safetensors: checksum"):  # noqa: SIM117
        with model_folder(evaluated, tmp_path / "scratch"):
            pass
    assert not (tmp_path / "scratch").exists()


@pytest.fixture
def store(run: RunDirectory) -> Iterator[WeightStore]:
    with WeightStore(run.path) as opened:
        yield opened


def publish(store: WeightStore, run: RunDirectory, version: int) -> None:
    tensors = load_file(run.model / "model.safetensors")
    raw = {name: t.contiguous().view(-1).view(torch.uint8).numpy().tobytes() for name, t in tensors.items()}
    store.write(version, [(name, "bfloat16", raw[name], tuple(t.shape)) for name, t in tensors.items()])


def test_the_latest_weights_are_the_model_then_the_newest_checkpoint(run: RunDirectory) -> None:
    assert (latest(run).kind, latest(run).version, latest(run).path) == ("model", 0, run.model)
    for step in (2, 10):
        checkpoint(run, step)
    assert (latest(run).kind, latest(run).version) == ("checkpoint", 10)


def test_the_latest_weights_of_a_living_learner_are_those_it_has_published(
    run: RunDirectory, store: WeightStore, tmp_path: Path
) -> None:
    checkpoint(run, 2)
    publish(store, run, 5)
    evaluated = latest(run)
    assert (evaluated.kind, evaluated.version) == ("live", 5)
    with model_folder(evaluated, tmp_path / "scratch") as folder:
        assert (
            load_file(folder / "model.safetensors").keys()
            == load_file(run.model / "model.safetensors").keys()
        )


def test_weights_that_the_learner_has_replaced_meanwhile_are_told(
    run: RunDirectory, store: WeightStore, tmp_path: Path
) -> None:
    publish(store, run, 5)
    evaluated = latest(run)
    for version in (6, 7):
        publish(store, run, version)
    with pytest.raises(PreflightError, match="version 5 is gone"), model_folder(evaluated, tmp_path / "s"):
        pass


def test_what_a_dead_learner_left_in_memory_is_not_the_latest(run: RunDirectory) -> None:
    with WeightStore(run.path) as store:
        publish(store, run, 5)
        assert newest_version(run.path) is not None
        (store.directory / "kept").mkdir()
        store._lock.close()  # as the kernel does when the process is killed
        assert newest_version(run.path) is None
        for file in store.directory.rglob("*"):
            if file.is_file():
                file.unlink()
        (store.directory / "kept").rmdir()
        store.directory.rmdir()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--model={}/nothing"], "not a model folder"),
        (["--checkpoint={}/checkpoints/step-9"], "not a whole checkpoint"),
        (["--latest={}/nothing"], "not a run"),
    ],
)
def test_what_is_not_there_is_named(run: RunDirectory, arguments: list[str], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        chosen(run, *[argument.format(run.path) for argument in arguments])


def test_two_that_play_at_once_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        options("--model=a", "--latest=b")
    assert left.value.code == 2
    assert "not allowed with" in capsys.readouterr().err


@pytest.mark.slow
def test_a_checkpoint_is_evaluated_greedily_by_one_command(run: RunDirectory, tmp_path: Path) -> None:
    checkpoint(run, 3, shift=0.01)
    out = tmp_path / "out"
    path = run.checkpoints / "step-000003"
    assert main(["eval", str(run.config), f"--checkpoint={path}", "--greedy", f"--out={out}"]) == 0
    results = json.loads((out / "results.json").read_text())
    assert results["settings"]["model"]["version"] == 3
    assert results["settings"]["sampling"]["temperature"] == 0
    summary = results["summary"]
    assert (summary["num_tasks"], summary["oldest_version"], summary["newest_version"]) == (2, 3, 3)
    assert RunConfig.model_validate(results["config"]).run.name == "trial"
    assert not (out / ".model").exists()
    rows = [json.loads(line)["result"] for line in (out / "episodes.jsonl").read_text().splitlines()]
    assert all(row["action_tokens"] > 0 for row in rows)
