"""Arrays into a weight file: the tensors as they come, the header when all are known."""

import math
import os
from collections.abc import Iterable
from typing import Any

import xxhash
from numpy.typing import NDArray

from common.errors import WeightError
from common.messages import TensorEntry
from common.weights import layout

NamedArray = tuple[str, str, "bytes | memoryview | NDArray[Any]", tuple[int, ...]]
"""(name, dtype as in TensorEntry, the values as C-contiguous bytes, shape)."""

BLOCK_BYTES = 1 << 20
"""Hashed and copied at a time: small enough that the copy finds in cache what the checksum has just read."""


def append(file: int, arrays: Iterable[NamedArray], offset: int) -> list[TensorEntry]:
    """Write the arrays end to end from `offset` on."""
    tensors: list[TensorEntry] = []
    names: set[str] = set()
    for name, dtype, values, shape in arrays:
        data = memoryview(values if isinstance(values, (bytes, memoryview)) else values.data)
        data = data.cast("B") if data.nbytes else memoryview(b"")
        _check(name, dtype, data.nbytes, shape, offset)
        if name in names:
            raise WeightError(f"tensor {name!r} comes twice")
        names.add(name)
        checksum = xxhash.xxh3_64()
        for begin in range(0, data.nbytes, BLOCK_BYTES):
            block = data[begin : begin + BLOCK_BYTES]
            checksum.update(block)
            _write_all(file, block, offset + begin)
        tensors.append(
            TensorEntry(
                name=name,
                shape=shape,
                dtype=dtype,
                offset=offset,
                num_bytes=data.nbytes,
                checksum=checksum.intdigest(),
            )
        )
        offset += data.nbytes
    return tensors


def _check(name: str, dtype: str, num_bytes: int, shape: tuple[int, ...], offset: int) -> None:
    if dtype not in layout.DTYPES:
        raise WeightError(f"tensor {name!r}: dtype {dtype!r}; allowed are {', '.join(layout.DTYPES)}")
    width = layout.DTYPES[dtype][1]
    if num_bytes != math.prod(shape) * width:
        raise WeightError(f"tensor {name!r}: {num_bytes} bytes are not {dtype} of shape {list(shape)}")
    if offset % width:
        raise WeightError(f"tensor {name!r}: {dtype} after an odd number of narrower values cannot be mapped")


def _write_all(file: int, block: memoryview, offset: int) -> None:
    while block:
        written = os.pwrite(file, block, offset)
        block, offset = block[written:], offset + written


def put_header(file: int, version: int, tensors: list[TensorEntry]) -> list[TensorEntry]:
    """Write the header before the data; returns where the tensors are then.

    When the room kept for it is too small, the data moves: once, as the next version has the same names.
    """
    if not tensors:
        raise WeightError(f"version {version} has no tensors")
    start = tensors[0].offset
    needed = layout.header_bytes([tensor.name for tensor in tensors], version)
    if needed > start:
        _move(file, start, needed)
        tensors = [t.model_copy(update={"offset": t.offset + needed - start}) for t in tensors]
    _write_all(file, memoryview(layout.header(version, tensors, tensors[0].offset)), 0)
    return tensors


def _move(file: int, begin: int, to: int) -> None:
    """Shift everything from `begin` to the end of the file up to `to`, last block first."""
    for offset in reversed(range(begin, os.fstat(file).st_size, BLOCK_BYTES)):
        _write_all(file, memoryview(os.pread(file, BLOCK_BYTES, offset)), offset + to - begin)
