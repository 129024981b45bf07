"""Sharded tensors in safetensors files, one per rank, resharded when read.

The layout is that of torch.distributed.checkpoint's `HuggingFaceStorageWriter`: plain safetensors, with the
offset of every shard in the header. torch's reader does the resharding. Its writer is not used: it makes a
second copy of everything in memory, and the layout that torch writes by default holds pickles.
"""

import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader
from torch.distributed.checkpoint.metadata import TensorStorageMetadata
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.tensor import DTensor

from common.errors import CheckpointError

_KEY = "DCP_SHARDING_INFO"
_OFFSETS = "saved_offsets"


@dataclass(frozen=True, eq=False)
class Shard:
    """This rank's part of one tensor, in memory of its own, on the CPU."""

    local: Tensor
    offsets: tuple[int, ...]
    """Where its first element stands in the whole."""


def copied(tensors: Mapping[str, Tensor], *, is_first: bool) -> dict[str, Shard]:
    """Copies of this rank's shards; of what is whole on every rank only the first rank's (`is_first`)."""
    found: dict[str, Shard] = {}
    for name, tensor in tensors.items():
        if isinstance(tensor, DTensor):
            local, chunks = tensor.to_local(), tensor.__create_chunk_list__()  # type: ignore[no-untyped-call]
            if local.numel():
                found[name] = Shard(_copy(local), tuple(chunks[0].offsets))
        elif is_first:
            found[name] = Shard(_copy(tensor), (0,) * tensor.ndim)
    return found


def _copy(local: Tensor) -> Tensor:
    return local.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)


def write(file: Path, shards: Mapping[str, Shard]) -> None:
    """Write one rank's file; OSError when the disk refuses."""
    offsets = {name: {_OFFSETS: list(shard.offsets)} for name, shard in shards.items()}
    try:
        tensors = {name: shard.local for name, shard in shards.items()}
        save_file(tensors, file, metadata={"format": "pt", _KEY: json.dumps(offsets)})
    except SafetensorError as error:
        raise OSError(str(error)) from error


def sizes(folder: Path) -> dict[str, tuple[int, ...]]:
    """The whole shape of every tensor in a folder of rank files; CheckpointError when one cannot be read."""
    try:
        metadata = HuggingFaceStorageReader(str(folder)).read_metadata()
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise CheckpointError(f"{folder}: {error}") from error
    return {
        name: tuple(entry.size)
        for name, entry in metadata.state_dict_metadata.items()
        if isinstance(entry, TensorStorageMetadata)
    }


def read_into(folder: Path, tensors: Mapping[str, Tensor]) -> None:
    """Fill tensors, sharded in any way or whole, from a folder of rank files; not collective.

    Every rank reads the parts that it needs. CheckpointError when a file cannot be read.
    """
    reader = HuggingFaceStorageReader(str(folder))
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="torch.distributed is disabled")
            load(dict(tensors), storage_reader=reader, no_dist=True)
    except (OSError, SafetensorError, CheckpointException) as error:
        raise CheckpointError(f"{folder}: {error}") from error
