"""A Hugging Face model folder, and whether a set of new weights belongs to it."""

import json
from functools import cached_property
from pathlib import Path

from safetensors import SafetensorError, safe_open
from transformers import AutoConfig, AutoTokenizer

from common.errors import PreflightError, WeightError
from common.messages import AdapterEntry, WeightManifest
from common.prompt import Dialogue
from common.weights.adapter import fingerprint, layer_and_part

_HEAD = "lm_head.weight"
_DTYPES = {"F32": "float32", "BF16": "bfloat16", "F16": "float16"}

Tensors = dict[str, tuple[tuple[int, ...], str]]
"""Shape and dtype by Hugging Face name."""


class ModelFolder:
    """Names the weight files of a model folder, its tensors and its end tokens; reads headers, no weights.

    Raises PreflightError with one line when the folder is missing, has no safetensors or cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.files = _weight_files(path)
        tensors: Tensors = {}
        for file in self.files:
            try:
                tensors |= read_header(file)
            except (OSError, SafetensorError) as error:
                raise PreflightError(f"model path {path}: {file.name} cannot be read: {error}") from None
        self.num_bytes = sum(file.stat().st_size for file in self.files)
        self._shapes = {name: shape for name, (shape, _) in tensors.items()}
        self._is_tied = bool(AutoConfig.from_pretrained(path).tie_word_embeddings)

    def end_token_ids(self) -> tuple[int, ...]:
        """The tokens that end an action; ConfigurationError when the chat template has none."""
        return Dialogue(AutoTokenizer.from_pretrained(self.path), "").end_token_ids

    def check(self, manifest: WeightManifest, file: Path) -> None:
        """Nothing when `file` is whole and holds exactly this model's tensors as `manifest` lists them.

        A tied head may be listed or left out. Of an adapter: when this model is its base and its matrices
        fit. Raises WeightError with the first difference.
        """
        version = f"weights of version {manifest.version}"
        promised: Tensors = {entry.name: (entry.shape, entry.dtype) for entry in manifest.tensors}
        if manifest.adapter is not None:
            self._check_adapter(version, manifest.adapter, promised)
        else:
            self._check_names(version, set(promised))
            self._check_shapes(version, promised)
        try:
            found = read_header(file)
        except (OSError, SafetensorError) as error:
            raise WeightError(f"{version}: {file} cannot be read: {error}") from None
        if found != promised:
            name, _ = min(found.items() ^ promised.items())
            there, wanted = (tensors.get(name, "missing") for tensors in (found, promised))
            raise WeightError(f"{version}: {name} is {there} in {file}, {wanted} in the manifest")

    @cached_property
    def fingerprint(self) -> str:
        """Which base model this is; reads every byte of the weights the first time."""
        return fingerprint(self.path)

    def _check_adapter(self, version: str, entry: AdapterEntry, promised: Tensors) -> None:
        if entry.base != self.fingerprint:
            raise WeightError(
                f"{version}: an adapter of the base model {entry.base}, this engine has {self.fingerprint}"
            )
        adapted: dict[str, set[str]] = {}
        for name, (shape, _) in promised.items():
            layer, part = layer_and_part(name) or (name, "")
            weight = self._shapes.get(f"{layer}.weight", ())
            if not part or len(weight) != 2:
                raise WeightError(f"{version}: {name} adapts no matrix of the model")
            wanted = (entry.rank, weight[1]) if part == "A" else (weight[0], entry.rank)
            if shape != wanted:
                raise WeightError(f"{version}: {name} has shape {shape}, the model's is {wanted}")
            adapted.setdefault(layer, set()).add(part)
        for layer, parts in adapted.items():
            if len(parts) < 2:
                raise WeightError(f"{version}: the adapter of {layer} has only its {min(parts)}")

    def _check_shapes(self, version: str, promised: Tensors) -> None:
        for name, (shape, _) in promised.items():
            if shape != self._shapes.get(name, shape):
                raise WeightError(f"{version}: {name} has shape {shape}, the model's is {self._shapes[name]}")

    def _check_names(self, version: str, names: set[str]) -> None:
        optional = {_HEAD} if self._is_tied else set()
        missing = self._shapes.keys() - names - optional
        unknown = names - self._shapes.keys() - optional
        if missing:
            raise WeightError(f"{version}: {min(missing)} is missing (and {len(missing) - 1} more)")
        if unknown:
            raise WeightError(f"{version}: {min(unknown)} is not in the model (and {len(unknown) - 1} more)")


def read_header(file: Path) -> Tensors:
    """Shapes and dtypes in a safetensors file; SafetensorError when it is torn."""
    with safe_open(str(file), framework="pt") as opened:
        slices = {name: opened.get_slice(name) for name in opened.keys()}  # noqa: SIM118 - not a mapping
        return {
            name: (tuple(part.get_shape()), _DTYPES.get(part.get_dtype(), part.get_dtype()))
            for name, part in slices.items()
        }


def _weight_files(path: Path) -> list[Path]:
    """The single safetensors file, or the shards that the index lists."""
    if not (path / "config.json").is_file():
        raise PreflightError(f"model path {path}: no such model folder (it must hold a config.json)")
    index = path / "model.safetensors.index.json"
    names = {"model.safetensors"}
    if index.is_file():
        names = set(json.loads(index.read_text())["weight_map"].values())
    missing = sorted(name for name in names if not (path / name).is_file())
    if missing:
        raise PreflightError(f"model path {path}: {missing[0]} is missing; weights must be safetensors")
    return [path / name for name in sorted(names)]
