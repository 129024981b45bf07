"""What a model folder must hold, and which weights belong to it."""

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from actors.config import EngineConfig
from actors.engine import vllm_options
from actors.engine.factory import make_engine
from actors.engine.model_folder import ModelFolder
from common.errors import PreflightError, WeightError
from tests.actors.engine import tiny

NORM = "model.norm.weight"


@pytest.fixture(scope="module", params=[True, False], ids=["tied", "untied"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ModelFolder:
    return ModelFolder(tiny.folder(tmp_path_factory.mktemp("model"), is_tied=request.param))


def tensors(folder: ModelFolder) -> dict[str, torch.Tensor]:
    loaded: dict[str, torch.Tensor] = load_file(folder.path / "model.safetensors")
    return loaded


def test_the_models_own_tensors_belong_to_it(folder: ModelFolder, tmp_path: Path) -> None:
    file = tmp_path / "1"
    folder.check(tiny.publish_tensors(file, tensors(folder), 1), file)


def test_a_tied_head_may_be_listed_or_left_out(tmp_path: Path) -> None:
    folder = ModelFolder(tiny.folder(tmp_path / "model"))
    given = tensors(folder)
    given["lm_head.weight"] = given["model.embed_tokens.weight"].clone()
    folder.check(tiny.publish_tensors(tmp_path / "1", given, 1), tmp_path / "1")


def test_a_missing_tensor_is_named(folder: ModelFolder, tmp_path: Path) -> None:
    given = tensors(folder)
    del given[NORM]
    manifest = tiny.publish_tensors(tmp_path / "1", given, 1)
    with pytest.raises(WeightError, match=rf"version 1: {NORM} is missing"):
        folder.check(manifest, tmp_path / "1")


def test_an_unknown_tensor_is_named(folder: ModelFolder, tmp_path: Path) -> None:
    manifest = tiny.publish_tensors(tmp_path / "1", tensors(folder) | {"value_head": torch.zeros(3)}, 1)
    with pytest.raises(WeightError, match="value_head is not in the model"):
        folder.check(manifest, tmp_path / "1")


def test_a_wrong_shape_is_named(folder: ModelFolder, tmp_path: Path) -> None:
    manifest = tiny.publish_tensors(tmp_path / "1", tensors(folder) | {NORM: torch.zeros(63)}, 1)
    with pytest.raises(WeightError, match=rf"{NORM} has shape \(63,\), the model's is \(64,\)"):
        folder.check(manifest, tmp_path / "1")


def test_a_file_that_is_not_what_its_manifest_says_is_refused(folder: ModelFolder, tmp_path: Path) -> None:
    given = tensors(folder)
    manifest = tiny.publish_tensors(tmp_path / "1", given, 1)
    save_file(given | {NORM: given[NORM].bfloat16()}, tmp_path / "1")
    with pytest.raises(WeightError, match=f"{NORM} is .*bfloat16.*float32.* in the manifest"):
        folder.check(manifest, tmp_path / "1")
    del given[NORM]
    save_file(given, tmp_path / "1")
    with pytest.raises(WeightError, match=f"{NORM} is missing"):
        folder.check(manifest, tmp_path / "1")


@pytest.mark.parametrize("size", [0, 4, 200, -1])
def test_a_torn_file_is_refused(folder: ModelFolder, tmp_path: Path, size: int) -> None:
    file = tmp_path / "1"
    manifest = tiny.publish_tensors(file, tensors(folder), 1)
    file.write_bytes(file.read_bytes()[:size])
    with pytest.raises(WeightError, match="cannot be read"):
        folder.check(manifest, file)
    file.unlink()
    with pytest.raises(WeightError, match="cannot be read"):
        folder.check(manifest, file)


def test_shards_count_as_one_model(folder: ModelFolder, tmp_path: Path) -> None:
    given = tensors(folder)
    parts = {"a.safetensors": sorted(given)[:5], "b.safetensors": sorted(given)[5:]}
    for name, names in parts.items():
        save_file({key: given[key] for key in names}, tmp_path / name)
    (tmp_path / "config.json").write_text((folder.path / "config.json").read_text())
    index = {"weight_map": {key: name for name, names in parts.items() for key in names}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    sharded = ModelFolder(tmp_path)
    assert [file.name for file in sharded.files] == ["a.safetensors", "b.safetensors"]
    sharded.check(tiny.publish_tensors(tmp_path / "1", given, 1), tmp_path / "1")
    (tmp_path / "b.safetensors").unlink()
    with pytest.raises(PreflightError, match=r"b\.safetensors is missing"):
        ModelFolder(tmp_path)


def test_end_tokens_are_those_of_the_chat_template(folder: ModelFolder) -> None:
    assert folder.end_token_ids() == (1,)


@pytest.mark.parametrize("kind", ["vllm", "transformers"])
def test_a_missing_model_path_is_one_clear_line(tmp_path: Path, kind: str) -> None:
    with pytest.raises(PreflightError, match="no such model folder") as error:
        make_engine(tmp_path / "nowhere", EngineConfig.model_validate({"kind": kind}))
    assert "\n" not in str(error.value)


async def test_too_little_memory_is_said_before_anything_starts(tmp_path: Path) -> None:
    engine = make_engine(tiny.folder(tmp_path / "model"), EngineConfig(kv_cache_bytes=1 << 50))
    with pytest.raises(PreflightError, match=r"engine\.kv_cache_bytes = 1125899906842624"):
        await engine.start()


def test_variables_that_the_user_has_set_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_LOGGING_LEVEL", "DEBUG")
    with vllm_options.spawning(EngineConfig()):
        assert os.environ["VLLM_LOGGING_LEVEL"] == "DEBUG"
        assert os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] == "0"
    assert os.environ["VLLM_LOGGING_LEVEL"] == "DEBUG"
    assert "VLLM_ENABLE_V1_MULTIPROCESSING" not in os.environ
