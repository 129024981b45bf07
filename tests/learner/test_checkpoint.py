import json
import os
import random
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from common.errors import CheckpointError, PreflightError
from learner.atomic_folder import atomic_folder
from learner.checkpoint import CheckpointStore, load_checkpoint, refuse_another_model
from learner.checkpoint_manifest import read_manifest
from learner.checkpoint_writer import CheckpointWriter, RankCopy
from learner.random_state import capture_random, restore_random
from learner.shard_file import copied
from tests.learner.checkpoints import kept, written
from tests.learner.torch_side import make_trainer, single_rank, tiny_folder


def weights(step: int) -> dict[str, torch.Tensor]:
    return {"a": torch.full((2, 3), float(step)), "b": torch.ones(4)}


@pytest.fixture
def store(tmp_path: Path) -> CheckpointStore:
    return CheckpointStore(tmp_path / "checkpoints", keep=2)


def names(store: CheckpointStore) -> list[str]:
    return [path.name for path in store.all()]


def test_what_is_read_is_what_was_written(store: CheckpointStore) -> None:
    path = written(store, weights(10), 10)
    assert path.name == "step-000010"
    assert read_manifest(path).ledger == {"step": 10}
    found = load_checkpoint(path)
    assert (found.step, found.num_skipped) == (10, 1)
    assert found.optimizer.keys() == {f"{p}.{n}" for p in ("exp_avg", "exp_avg_sq", "step") for n in "ab"}
    for name, tensor in weights(10).items():
        assert torch.equal(found.weights[name], tensor)


def test_only_the_newest_are_kept(store: CheckpointStore) -> None:
    for step in (1, 2, 1_000_000, 3):
        written(store, weights(step), step)
    assert names(store) == ["step-000003", "step-1000000"]
    assert store.latest() == store.folder / "step-1000000"
    assert store.latest(before=4) == store.folder / "step-000003"
    assert store.latest(before=3) is None


def test_every_so_many_steps_one_is_kept_for_ever(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path, keep=1, keep_every=4)
    for step in range(2, 13, 2):
        written(store, weights(step), step)
    assert names(store) == ["step-000004", "step-000008", "step-000012"]


def test_half_written_checkpoints_are_never_the_latest(store: CheckpointStore) -> None:
    written(store, weights(1), 1)
    (store.folder / "step-000009").mkdir()
    (store.folder / ".draft-step-000008-x").mkdir()
    (store.folder / "step-later").mkdir()
    assert store.latest() == store.folder / "step-000001"


def test_drafts_of_a_crash_are_cleared_away(store: CheckpointStore) -> None:
    (store.folder / ".draft-step-000008-x").mkdir(parents=True)
    written(store, weights(1), 1)
    assert [path.name for path in store.folder.iterdir()] == ["step-000001"]


def test_the_same_step_may_be_written_again(store: CheckpointStore) -> None:
    written(store, weights(1), 1)
    assert float(load_checkpoint(written(store, weights(7), 1)).weights["a"][0, 0]) == 7


@pytest.mark.parametrize("name", ["rank-00000.safetensors", "random-00000.json"])
def test_a_torn_file_is_named(store: CheckpointStore, name: str) -> None:
    file = written(store, weights(1), 1) / name
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(CheckpointError, match=f"{name}: checksum .* torn"):
        load_checkpoint(file.parent)


def test_a_missing_file_is_named(store: CheckpointStore) -> None:
    path = written(store, weights(1), 1)
    (path / "rank-00000.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"rank-00000\.safetensors: missing"):
        load_checkpoint(path)


@pytest.mark.parametrize("content", ["", "{}", "[1]", '{"format": 99}', '{"format": 2}'])
def test_a_broken_manifest_is_one_line(store: CheckpointStore, content: str) -> None:
    path = written(store, weights(1), 1)
    (path / "manifest.json").write_text(content)
    with pytest.raises(CheckpointError, match="step-000001") as caught:
        load_checkpoint(path)
    assert "\n" not in str(caught.value)


def test_the_format_of_older_releases_is_refused_in_one_line(store: CheckpointStore) -> None:
    path = written(store, weights(1), 1)
    (path / "manifest.json").write_text('{"format": 1, "step": 1}')
    with pytest.raises(CheckpointError, match=r"manifest\.json: format 1; this release reads format 2 alone"):
        load_checkpoint(path)


def test_weights_of_another_model_do_not_match_the_fingerprint(store: CheckpointStore) -> None:
    path = written(store, weights(1), 1)
    manifest = json.loads((path / "manifest.json").read_text())
    (path / "manifest.json").write_text(json.dumps(manifest | {"fingerprint": "0" * 16}))
    with pytest.raises(CheckpointError, match="weights of model"):
        load_checkpoint(path)


def test_a_checkpoint_knows_the_model_it_belongs_to() -> None:
    parts = ("weight", "exp_avg", "exp_avg_sq", "step")
    sizes = {f"{part}.{name}": size for part in parts for name, size in (("a", (2, 3)), ("b", (4,)))}
    refuse_another_model(sizes, {"a": (2, 3), "b": (4,)})
    with pytest.raises(CheckpointError, match=r"weight a has shape \(2, 3\) in it and \(3, 3\)"):
        refuse_another_model(sizes, {"a": (3, 3), "b": (4,)})
    with pytest.raises(CheckpointError, match=r"weight b has shape \(4,\) in it and none"):
        refuse_another_model(sizes, {"a": (2, 3)})
    with pytest.raises(CheckpointError, match="weight c has shape none in it"):
        refuse_another_model(sizes, {"a": (2, 3), "b": (4,), "c": (1,)})
    del sizes["exp_avg.b"]
    with pytest.raises(CheckpointError, match="no exp_avg for weight b"):
        refuse_another_model(sizes, {"a": (2, 3), "b": (4,)})


def test_random_generators_continue_where_they_were() -> None:
    def draw() -> list[float]:
        return [random.random(), float(np.random.rand()), float(torch.rand(()))]

    state = json.loads(json.dumps(capture_random()))
    expected = draw()
    restore_random(state)
    assert draw() == expected


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return tiny_folder(tmp_path / "model")


def test_a_checkpoint_holds_the_moment_of_the_copy_whatever_is_trained_meanwhile(
    model: Path, store: CheckpointStore
) -> None:
    with single_rank() as device:
        trainer = make_trainer(model, device)
        copy, before = trainer.copied(), trainer.state()
        for parameter in trainer._parameters.values():
            torch.nn.init.zeros_(parameter)
        writer = CheckpointWriter()
        path = writer.begin(replace(copy, step=1), store, {"step": 1}).result()
        writer.close()
    for name, tensor in load_checkpoint(path).weights.items():
        assert torch.equal(tensor, before.weights[name])


def copy_of(megabytes: int) -> RankCopy:
    tensors = {f"{part}.w": torch.ones(megabytes, 250_000) for part in ("weight", "exp_avg", "exp_avg_sq")}
    shards = copied(tensors | {"step.w": torch.ones(1)}, is_first=True)
    return RankCopy(shards, capture_random(), {"w": (megabytes, 250_000)}, step=2, num_skipped=0)


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """As on a full disk: the kernel refuses to make a file longer."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_disk_that_fills_up_is_one_line_and_leaves_the_others(store: CheckpointStore) -> None:
    written(store, weights(1), 1)
    with single_rank():
        writer = CheckpointWriter()
        with files_of_at_most(1_000_000):
            failed = writer.begin(copy_of(2), store, {"step": 2})
            with pytest.raises(
                PreflightError, match=r"checkpoint .*step-000002: rank 0: .*are kept"
            ) as caught:
                failed.result()
        assert "\n" not in str(caught.value)
        with pytest.raises(PreflightError):
            writer.settle()
        writer.close()
    assert [path.name for path in store.folder.iterdir()] == ["step-000001"]


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with single_rank():
        writer = CheckpointWriter()
        with pytest.raises(PreflightError, match=r"step-000002: .*Not a directory"):
            writer.begin(copy_of(1), CheckpointStore(tmp_path / "file" / "checkpoints"), {}).result()
        writer.close()


def test_a_crash_while_writing_leaves_the_older_checkpoint(store: CheckpointStore) -> None:
    """A process that is killed between two files: what it leaves is never read, and cleared away later."""
    written(store, weights(1), 1)
    child = os.fork()
    if not child:
        with atomic_folder(store.path(2)) as draft:
            (draft / "rank-00000.safetensors").write_bytes(b"half")
            os.kill(os.getpid(), signal.SIGKILL)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    assert len(list(store.folder.iterdir())) == 2
    assert store.latest() == store.folder / "step-000001"
    written(store, weights(2), 2)
    assert sorted(path.name for path in store.folder.iterdir()) == ["step-000001", "step-000002"]


def test_a_trainer_reads_what_it_wrote_bit_for_bit(model: Path, store: CheckpointStore) -> None:
    with single_rank() as device:
        first = make_trainer(model, device)
        path = kept(store, first)
        second = make_trainer(model, device)
        for parameter in second._parameters.values():
            torch.nn.init.zeros_(parameter)
        second.load(path)
        expected, found = first.state(), second.state()
    for name, tensor in expected.weights.items():
        assert torch.equal(found.weights[name], tensor)


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    def half() -> None:
        with atomic_folder(tmp_path / "made") as draft:
            (draft / "one").write_text("1")
            assert not (tmp_path / "made").exists()
            raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        half()
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_that_is_half_removed_is_not_whole(store: CheckpointStore) -> None:
    path = written(store, weights(1), 1)
    (path / "manifest.json").unlink()
    assert store.latest() is None
