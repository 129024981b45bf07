"""How many bytes a run will need, from the size of its model and the length of the run."""

import json
import math
import struct
from pathlib import Path

from common.errors import ConfigurationError
from launch.config import RunConfig

SMOLLM2_PARAMETERS = 134_515_008
SMOLLM2_SIDES = 305_280
"""Rows and columns of its linear layers."""
OPTIMIZER_BYTES = 12
"""Per parameter of a checkpoint: float32 master and two moments."""
TOKEN_BYTES = 16
"""Per token in the ledger: id, logprob, and the text for people."""
MEAN_SHARE = 0.6
"""Played episodes per trained one, times the usual length as a share of the longest."""
VOCABULARY = 1024
"""Of a small model, before its words are known; generous."""


def num_parameters(config: RunConfig) -> int:
    """Parameters of the policy; of a folder, read from the headers of its safetensors files."""
    if config.model.source == "smollm2":
        return SMOLLM2_PARAMETERS
    if config.model.source == "path":
        return sum(math.prod(shape) for shape in _shapes(Path(config.model.path)))
    small = config.model.small
    head = small.hidden_size // small.num_heads
    attention = small.hidden_size * head * (2 * small.num_heads + 2 * small.num_kv_heads)
    feed_forward = 3 * small.hidden_size * small.intermediate_size
    norms = 2 * small.hidden_size
    embeddings = VOCABULARY * small.hidden_size * (1 if small.is_tied else 2)
    return small.num_layers * (attention + feed_forward + norms) + embeddings + small.hidden_size


def num_trained(config: RunConfig) -> int:
    """Parameters that are optimized and broadcast: all, or at most these of adapters."""
    rank, small = config.model.lora.rank, config.model.small
    if not rank:
        return num_parameters(config)
    if config.model.source == "smollm2":
        return rank * SMOLLM2_SIDES
    if config.model.source == "path":
        return rank * sum(sum(shape) for shape in _shapes(Path(config.model.path)) if len(shape) == 2)
    kv_size = small.hidden_size * small.num_kv_heads // small.num_heads
    sides = 4 * small.hidden_size + 2 * (small.hidden_size + kv_size)
    sides += 3 * (small.hidden_size + small.intermediate_size)
    return rank * small.num_layers * sides


def weight_bytes(config: RunConfig, number: int) -> int:
    """So many weights once, in the precision in which they are broadcast."""
    return number * (4 if config.model.dtype == "float32" else 2)


def disk_bytes(config: RunConfig) -> int:
    """What the run folder will grow to: models, checkpoints (one more while it is written) and the ledger."""
    learner = config.learner
    models = 3 * weight_bytes(config, num_parameters(config))
    checkpoints = (learner.keep_checkpoints + 1) * num_trained(config) * OPTIMIZER_BYTES
    episodes = learner.steps * learner.groups_per_step * learner.group_size * MEAN_SHARE
    return models + checkpoints + int(episodes * config.sampling.max_episode_tokens * TOKEN_BYTES)


def shared_memory_bytes(config: RunConfig) -> int:
    """Weights in host shared memory: the versions that are kept and the one being written."""
    return (config.relay.keep_versions + 1) * weight_bytes(config, num_trained(config))


def _shapes(folder: Path) -> list[list[int]]:
    """Of every tensor in the safetensors files of a folder."""
    return [shape for file in folder.glob("*.safetensors") for shape in _shapes_in(file)]


def _shapes_in(file: Path) -> list[list[int]]:
    try:
        with file.open("rb") as opened:
            (length,) = struct.unpack("<Q", opened.read(8))
            header = json.loads(opened.read(length))
    except (OSError, struct.error, ValueError) as error:
        raise ConfigurationError(f"model.path: {file} is not a safetensors file ({error})") from None
    return [entry["shape"] for name, entry in header.items() if name != "__metadata__"]
