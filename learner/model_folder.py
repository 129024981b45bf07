"""A Hugging Face model folder made of weights and of everything else in another folder."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from common.errors import PreflightError
from common.messages import AdapterEntry
from common.weights.adapter import WEIGHTS_FILE, write_peft_config
from learner.atomic_folder import atomic_folder

_WEIGHT_FILES = {".safetensors", ".bin", ".pt", ".pth", ".gguf", ".h5", ".msgpack"}


Adapter = tuple[AdapterEntry, dict[str, Tensor]]
"""What it is, and its tensors by PEFT's names."""


def write_model_folder(
    path: Path, *, like: Path, weights: dict[str, Tensor], dtype: str, adapter: Adapter | None = None
) -> None:
    """Write `weights` beside the configuration and tokenizer of the folder `like`; whole or not at all.

    A tensor that comes under two names is stored under the first; loading ties it again. The adapter that is
    merged into `weights` lies beside them in `adapter/`, as PEFT reads it, for the base model `like`. Raises
    PreflightError when the disk refuses.
    """
    stored: dict[str, Tensor] = {}
    for name, tensor in weights.items():
        if not any(tensor is other for other in stored.values()):
            stored[name] = tensor.contiguous()
    try:
        with atomic_folder(path) as draft:
            for file in like.iterdir():
                if (
                    file.is_file()
                    and file.suffix not in _WEIGHT_FILES
                    and not file.name.endswith(".index.json")
                ):
                    shutil.copyfile(file, draft / file.name)
            config = json.loads((like / "config.json").read_text())
            config.pop("torch_dtype", None)
            config["dtype"] = dtype
            (draft / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
            save_file(stored, draft / "model.safetensors", metadata={"format": "pt"})
            if adapter is not None:
                _write_adapter(draft / "adapter", adapter, like)
    except OSError as error:
        raise PreflightError(f"model folder {path}: {error}") from error


def _write_adapter(folder: Path, adapter: Adapter, base: Path) -> None:
    entry, tensors = adapter
    folder.mkdir()
    stored = {name: tensor.contiguous() for name, tensor in tensors.items()}
    save_file(stored, folder / WEIGHTS_FILE, metadata={"format": "pt"})
    write_peft_config(folder, entry, str(base.resolve()))


def read_weights(folder: Path) -> Iterator[tuple[str, Tensor]]:
    """Every weight in the safetensors files of `folder`, by name, one at a time."""
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(str(file), framework="pt") as opened:
            for name in opened.keys():  # noqa: SIM118 - not a mapping
                yield name, opened.get_tensor(name)
