import json
import random
from pathlib import Path

import numpy as np
import pytest
import torch

from common.errors import CheckpointError, PreflightError
from learner.atomic_folder import atomic_folder
from learner.checkpoint import CheckpointStore, TrainerState, load_checkpoint


def state(step: int) -> TrainerState:
    weights = {"a": torch.full((2, 3), float(step)), "b": torch.ones(4)}
    optimizer = {
        f"{part}.{name}": torch.zeros(()) if part == "step" else torch.rand_like(tensor)
        for name, tensor in weights.items()
        for part in ("exp_avg", "exp_avg_sq", "step")
    }
    return TrainerState(weights, optimizer, step, num_skipped=1)


@pytest.fixture
def store(tmp_path: Path) -> CheckpointStore:
    return CheckpointStore(tmp_path / "checkpoints", keep=2)


def test_what_is_read_is_what_was_written(store: CheckpointStore) -> None:
    written = state(10)
    path = store.save(written, {"step": 10, "row": 77})
    assert path.name == "step-000010"
    found = load_checkpoint(path)
    assert found.ledger == {"step": 10, "row": 77}
    assert (found.state.step, found.state.num_skipped) == (10, 1)
    for part in ("weights", "optimizer"):
        for name, tensor in getattr(written, part).items():
            torch.testing.assert_close(getattr(found.state, part)[name], tensor, atol=0, rtol=0)


def test_only_the_newest_are_kept(store: CheckpointStore) -> None:
    for step in (1, 2, 1_000_000, 3):
        store.save(state(step), {})
    assert [path.name for path in store.all()] == ["step-000003", "step-1000000"]
    assert store.latest() == store.folder / "step-1000000"


def test_half_written_checkpoints_are_never_the_latest(store: CheckpointStore) -> None:
    store.save(state(1), {})
    (store.folder / "step-000009").mkdir()
    (store.folder / ".draft-step-000008-x").mkdir()
    (store.folder / "step-later").mkdir()
    assert store.latest() == store.folder / "step-000001"


def test_drafts_of_a_crash_are_cleared_away(store: CheckpointStore) -> None:
    (store.folder / ".draft-step-000008-x").mkdir(parents=True)
    store.save(state(1), {})
    assert [path.name for path in store.folder.iterdir()] == ["step-000001"]


def test_the_same_step_may_be_written_again(store: CheckpointStore) -> None:
    store.save(state(1), {"try": 1})
    assert load_checkpoint(store.save(state(1), {"try": 2})).ledger == {"try": 2}


@pytest.mark.parametrize("name", ["weights.safetensors", "optimizer.safetensors", "random.json"])
def test_a_torn_file_is_named(store: CheckpointStore, name: str) -> None:
    file = store.save(state(1), {}) / name
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(CheckpointError, match=f"{name}: checksum .* torn"):
        load_checkpoint(file.parent)


def test_a_missing_file_is_named(store: CheckpointStore) -> None:
    path = store.save(state(1), {})
    (path / "optimizer.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"optimizer\.safetensors: missing"):
        load_checkpoint(path)


@pytest.mark.parametrize("content", ["", "{}", "[1]", '{"format": 99}', '{"format": 1}'])
def test_a_broken_manifest_is_one_line(store: CheckpointStore, content: str) -> None:
    path = store.save(state(1), {})
    (path / "manifest.json").write_text(content)
    with pytest.raises(CheckpointError, match="step-000001") as caught:
        load_checkpoint(path)
    assert "\n" not in str(caught.value)


def test_weights_of_another_model_do_not_match_the_fingerprint(store: CheckpointStore) -> None:
    path = store.save(state(1), {})
    manifest = json.loads((path / "manifest.json").read_text())
    (path / "manifest.json").write_text(json.dumps(manifest | {"fingerprint": "0" * 16}))
    with pytest.raises(CheckpointError, match="weights of model"):
        load_checkpoint(path)


def test_a_state_knows_the_model_it_belongs_to() -> None:
    state(1).refuse_unless({"a": (2, 3), "b": (4,)})
    with pytest.raises(CheckpointError, match=r"weight a has shape \(2, 3\) in it and \(3, 3\)"):
        state(1).refuse_unless({"a": (3, 3), "b": (4,)})
    with pytest.raises(CheckpointError, match=r"weight b has shape \(4,\) in it and none"):
        state(1).refuse_unless({"a": (2, 3)})
    with pytest.raises(CheckpointError, match="weight c has shape none in it"):
        state(1).refuse_unless({"a": (2, 3), "b": (4,), "c": (1,)})


def test_random_generators_continue_where_they_were(store: CheckpointStore) -> None:
    def draw() -> list[float]:
        return [random.random(), float(np.random.rand()), float(torch.rand(()))]

    path = store.save(state(1), {})
    expected = draw()
    load_checkpoint(path).restore_random()
    assert draw() == expected


def test_a_disk_that_refuses_leaves_the_others(store: CheckpointStore) -> None:
    store.save(state(1), {})
    blocked = CheckpointStore(store.folder / "step-000001" / "manifest.json")
    with pytest.raises(PreflightError, match="checkpoint"):
        blocked.save(state(2), {})
    assert store.latest() == store.folder / "step-000001"


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    def half() -> None:
        with atomic_folder(tmp_path / "made") as draft:
            (draft / "one").write_text("1")
            assert not (tmp_path / "made").exists()
            raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        half()
    assert list(tmp_path.iterdir()) == []
