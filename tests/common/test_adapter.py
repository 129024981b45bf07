"""PEFT's names and configuration, and the fingerprint of a base model."""

import json
from pathlib import Path

from peft import LoraConfig

from common.messages import AdapterEntry
from common.weights.adapter import fingerprint, layer_and_part, tensor_name, write_peft_config


def test_names_come_back_as_they_were() -> None:
    for part in ("A", "B"):
        name = tensor_name("model.layers.3.mlp.up_proj", part)  # type: ignore[arg-type]
        assert layer_and_part(name) == ("model.layers.3.mlp.up_proj", part)
    for other in ("model.norm.weight", "base_model.model.x.lora_C.weight", "base_model.model.x.lora_A.bias"):
        assert layer_and_part(other) is None


def test_peft_reads_the_configuration(tmp_path: Path) -> None:
    entry = AdapterEntry(rank=8, alpha=16.0, targets=("v_proj", "q_proj"), base="0")
    write_peft_config(tmp_path, entry, "somewhere")
    read = LoraConfig.from_pretrained(tmp_path)
    assert (read.r, read.lora_alpha, read.target_modules) == (8, 16.0, {"q_proj", "v_proj"})
    assert (
        json.loads((tmp_path / "adapter_config.json").read_text())["base_model_name_or_path"] == "somewhere"
    )


def test_a_fingerprint_tells_models_apart_by_their_bytes(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("one", "same", "other")]
    for folder, content in zip(folders, (b"abc", b"abc", b"abd"), strict=True):
        folder.mkdir()
        (folder / "model.safetensors").write_bytes(content)
        (folder / "config.json").write_text(folder.name)
    one, same, other = map(fingerprint, folders)
    assert one == same != other
