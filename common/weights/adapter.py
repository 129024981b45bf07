"""Low-rank adapters on the wire and on disk: PEFT's names and configuration, and which base they belong to.

    base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight    [rank, in]
    base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight    [out, rank]

The weight of that layer becomes W + (alpha / rank) B A.
"""

import json
import re
from pathlib import Path
from typing import Any, Literal

import xxhash

from common.messages import AdapterEntry

Part = Literal["A", "B"]

WEIGHTS_FILE = "adapter_model.safetensors"
CONFIG_FILE = "adapter_config.json"
_PREFIX = "base_model.model."
_NAME = re.compile(r"base_model\.model\.(?P<layer>.+)\.lora_(?P<part>[AB])\.weight")
_BLOCK_BYTES = 1 << 20


def tensor_name(layer: str, part: Part) -> str:
    """PEFT's name of one matrix of the adapter of the layer that the model calls `layer`."""
    return f"{_PREFIX}{layer}.lora_{part}.weight"


def layer_and_part(name: str) -> tuple[str, str] | None:
    """What `tensor_name` was made of; None when `name` is no name of an adapter's tensor."""
    found = _NAME.fullmatch(name)
    return None if found is None else (found["layer"], found["part"])


def peft_config(entry: AdapterEntry, base: str) -> dict[str, Any]:
    """The content of PEFT's `adapter_config.json` for an adapter of the model at `base`."""
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "r": entry.rank,
        "lora_alpha": entry.alpha,
        "lora_dropout": 0.0,
        "target_modules": sorted(entry.targets),
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
    }


def write_peft_config(folder: Path, entry: AdapterEntry, base: str) -> None:
    """Write `adapter_config.json` into `folder`."""
    (folder / CONFIG_FILE).write_text(json.dumps(peft_config(entry, base), indent=2) + "\n")


def fingerprint(model: Path) -> str:
    """Which base model: 16 hexadecimal digits over the names and bytes of a folder's weight files.

    Reads every byte, at the speed of the disk the first time.
    """
    digest = xxhash.xxh3_64()
    for file in sorted(model.glob("*.safetensors")):
        digest.update(file.name.encode() + b"\0")
        with file.open("rb") as stream:
            while block := stream.read(_BLOCK_BYTES):
                digest.update(block)
    return digest.hexdigest()
