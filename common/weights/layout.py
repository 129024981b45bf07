"""The safetensors layout: 8 bytes of length, a JSON header padded with spaces, the tensors end to end.

https://github.com/huggingface/safetensors#format. Written here because the library wants all tensors at once
and in its own order, and a learner gathers them one by one. The version is in the metadata, so that a file
says by itself which policy it is.
"""

import json
import math
import struct
from typing import Any

from common.errors import WeightError
from common.messages import TensorEntry

DTYPES = {"float32": ("F32", 4), "bfloat16": ("BF16", 2), "float16": ("F16", 2)}
"""Ours -> (theirs, bytes per value)."""
ALIGNMENT = 64
"""Of the first tensor: a cache line."""
MAX_HEADER_BYTES = 100 << 20
"""What safetensors itself accepts."""


def header(version: int, tensors: list[TensorEntry], data_start: int) -> bytes:
    """Everything before the first tensor, exactly `data_start` bytes; ValueError when that is too few.

    The offsets of `tensors` count from the start of the file.
    """
    fields: dict[str, Any] = {"__metadata__": {"version": str(version)}}
    for tensor in tensors:
        begin = tensor.offset - data_start
        fields[tensor.name] = {
            "dtype": DTYPES[tensor.dtype][0],
            "shape": tensor.shape,
            "data_offsets": [begin, begin + tensor.num_bytes],
        }
    text = json.dumps(fields, separators=(",", ":")).encode()
    if 8 + len(text) > data_start:
        raise ValueError(f"a header of {len(text)} bytes does not fit before byte {data_start}")
    return struct.pack("<Q", data_start - 8) + text.ljust(data_start - 8)


def header_bytes(names: list[str], version: int) -> int:
    """A `data_start` large enough for any header about tensors of these names, aligned."""
    # Per tensor beside its name: punctuation, the dtype, two offsets of up to 20 digits and a shape.
    bound = 8 + 64 + len(str(version)) + sum(len(json.dumps(name)) + 192 for name in names)
    return math.ceil(bound / ALIGNMENT) * ALIGNMENT


def parse(start: bytes, size: int) -> tuple[int, int]:
    """(header length, where the data starts) from the first 8 bytes of a file of `size` bytes.

    WeightError when they cannot be the start of such a file.
    """
    if len(start) != 8:
        raise WeightError("too short for a weight file")
    (length,) = struct.unpack("<Q", start)
    if length > min(MAX_HEADER_BYTES, size - 8):
        raise WeightError(f"claims a header of {length} bytes in a file of {size}")
    return length, 8 + length


def parse_header(
    text: bytes, data_start: int
) -> tuple[int, dict[str, tuple[str, tuple[int, ...], int, int]]]:
    """(version, {name: (dtype, shape, absolute offset, bytes)}); WeightError when it is no header of ours."""
    try:
        fields = json.loads(text)
        version = int(fields.pop("__metadata__")["version"])
        tensors = {
            str(name): (
                str(f["dtype"]),
                tuple(f["shape"]),
                data_start + f["data_offsets"][0],
                f["data_offsets"][1] - f["data_offsets"][0],
            )
            for name, f in fields.items()
        }
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        raise WeightError(f"the header is no weight header: {type(error).__name__}") from None
    return version, tensors
