"""What changed from one weight file to another, lossless: few bytes, because few weights change in a step.

A delta is a file that says what it is: which version it makes of which base, and the checksums of every
tensor before and after. Tensors are cut into blocks; a block is the differences of all its elements (`dense`)
or only of those that changed, with the gaps between them.

    magic      8 bytes
    header     <I length, then JSON as a zstd frame: base, version, block size, tensors with both checksums
    blocks     in the order of the tensors: <BIII (width of a gap, or DENSE; number of differences; bytes of
               gaps; bytes of the body), then the body, one zstd frame: gaps, then differences by byte plane

Values are compared and subtracted as unsigned integers of their width, so that NaN payloads and the sign of
zero travel like any other bits. A bfloat16 weight that changes at all mostly moves to its neighbour: as
integers the difference is 1 or -1, which compresses to a bit. A gap counts the elements left out; the largest
value of its width says "so many, and the gap goes on", so that any distance can be told in any width.
"""

import json
import shutil
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import zstandard
from numpy.typing import NDArray

from common.errors import WeightError
from common.messages import TensorEntry, WeightManifest
from common.weights import layout
from common.weights.gaps import GAP_DTYPES, code_gaps, positions_of
from common.weights.manifest import file_bytes
from common.weights.verify import verify

MAGIC = b"pronghD1"
BLOCK_ELEMENTS = 1 << 20
"""Compared at a time: fits a cache, and bounds the memory that making and applying take."""
LEVEL = 1
"""Of zstd; higher levels gain a few per cent and cost several times as long."""
DENSE = 0
"""In place of a gap's width: all elements of the block, in order."""

_BLOCK = struct.Struct("<BIII")
_LENGTH = struct.Struct("<I")
_MAX_HEADER_BYTES = layout.MAX_HEADER_BYTES


def is_comparable(base: WeightManifest, target: WeightManifest) -> bool:
    """Whether both lay the same tensors at the same places; only then is there a delta between them."""
    return _layout(base) == _layout(target)


def _layout(manifest: WeightManifest) -> list[tuple[str, str, tuple[int, ...], int]]:
    return [(tensor.name, tensor.dtype, tensor.shape, tensor.offset) for tensor in manifest.tensors]


def make_delta(
    base: WeightManifest, base_file: Path, target: WeightManifest, target_file: Path, into: Path
) -> int:
    """Write what turns `base_file` into `target_file`; its size in bytes.

    Both files are verified already, and only read. WeightError when the two are no versions of one model.
    """
    if not is_comparable(base, target):
        raise WeightError(f"versions {base.version} and {target.version} hold different tensors")
    before, after = _mapped(base_file), _mapped(target_file)
    compressor = zstandard.ZstdCompressor(level=LEVEL, write_checksum=True)
    with into.open("wb") as file:
        header = compressor.compress(json.dumps(_header(base, target), separators=(",", ":")).encode())
        file.write(MAGIC + _LENGTH.pack(len(header)) + header)
        for tensor in target.tensors:
            old, new = _values(before, tensor), _values(after, tensor)
            for begin in range(0, len(new), BLOCK_ELEMENTS):
                block = slice(begin, begin + BLOCK_ELEMENTS)
                _write_block(file, compressor, old[block], new[block])
        return file.tell()


def _header(base: WeightManifest, target: WeightManifest) -> dict[str, Any]:
    return {
        "base": base.version,
        "version": target.version,
        "block_elements": BLOCK_ELEMENTS,
        "tensors": [
            [new.name, new.num_bytes, old.checksum, new.checksum]
            for old, new in zip(base.tensors, target.tensors, strict=True)
        ],
    }


def _mapped(path: Path, mode: str = "r") -> NDArray[np.uint8]:
    return np.memmap(path, np.uint8, mode)  # type: ignore[call-overload, no-any-return]


def _values(data: NDArray[np.uint8], tensor: TensorEntry) -> NDArray[Any]:
    """The elements of a tensor as unsigned integers, mapped, not copied."""
    width = layout.DTYPES[tensor.dtype][1]
    return data[tensor.offset : tensor.offset + tensor.num_bytes].view(f"<u{width}")


def _write_block(
    file: BinaryIO, compressor: zstandard.ZstdCompressor, old: NDArray[Any], new: NDArray[Any]
) -> None:
    changed = np.flatnonzero(old != new)
    if len(changed) == 0:
        file.write(_BLOCK.pack(DENSE, 0, 0, 0))
        return
    width, gaps = code_gaps(changed)
    # Left out is worth while when the places cost less than the differences of zero that they replace: those
    # compress to next to nothing, so count a bit for each.
    if len(gaps) > len(new) / 8:
        width, gaps, changed = DENSE, b"", np.arange(len(new))
    difference = _zigzag(new[changed] - old[changed])
    planes = difference.view(np.uint8).reshape(-1, difference.itemsize).T
    body = compressor.compress(gaps + planes.tobytes())
    file.write(_BLOCK.pack(width, len(changed), len(gaps), len(body)) + body)


def _zigzag(difference: NDArray[Any]) -> NDArray[Any]:
    """0, -1, 1, -2 ... as 0, 1, 2, 3 ...: small either way, with the high bytes zero."""
    bits = 8 * difference.itemsize
    one = difference.dtype.type(1)
    return np.asarray((difference << one) ^ -(difference >> difference.dtype.type(bits - 1)))


def _unzigzag(coded: NDArray[Any]) -> NDArray[Any]:
    one = coded.dtype.type(1)
    return np.asarray((coded >> one) ^ -(coded & one))


def apply_delta(
    base: WeightManifest, base_file: Path, target: WeightManifest, delta_file: Path, into: Path
) -> None:
    """Write the file of `target`, rebuilt from `base_file` and verified; the same bytes as the learner's.

    WeightError when the delta is torn or of another base or version, or when the result fails a checksum;
    what is in `into` then is the caller's to remove.
    """
    try:
        delta = _DeltaFile(delta_file.read_bytes())
        delta.check(base, target)
        if base_file.stat().st_size != file_bytes(base):
            raise WeightError(f"{base_file} is not the file of version {base.version}")
        shutil.copyfile(base_file, into)
        data = _mapped(into, "r+")
        data[: target.tensors[0].offset] = _first_bytes(target)
        for tensor in target.tensors:
            delta.change(_values(data, tensor))
        delta.check_end()
        del data
        verify(target, into)
    except OSError as error:
        raise WeightError(f"version {target.version}: {into}: {error.strerror}") from None
    except _TornError as error:
        raise WeightError(f"version {target.version}: the delta is torn: {error}") from None


def _first_bytes(target: WeightManifest) -> NDArray[np.uint8]:
    start = target.tensors[0].offset
    return np.frombuffer(layout.header(target.version, list(target.tensors), start), np.uint8)


class _TornError(Exception):
    """What was read cannot be part of a delta."""


class _DeltaFile:
    """A delta in memory, read from front to back."""

    def __init__(self, content: bytes) -> None:
        self._content = memoryview(content)
        self._at = 0
        if self._take(len(MAGIC)) != MAGIC:
            raise _TornError("it does not begin like one")
        (length,) = _LENGTH.unpack(self._take(_LENGTH.size))
        try:
            self._header: dict[str, Any] = json.loads(_decompressed(self._take(length), _MAX_HEADER_BYTES))
            self._block_elements = int(self._header["block_elements"])
        except (ValueError, KeyError, TypeError, RecursionError):
            raise _TornError("its header cannot be read") from None
        if not 0 < self._block_elements <= 1 << 31:
            raise _TornError(f"blocks of {self._block_elements} elements")

    def _take(self, length: int) -> memoryview:
        taken = self._content[self._at : self._at + length]
        if len(taken) < length:
            raise _TornError(f"it ends at byte {len(self._content)}")
        self._at += length
        return taken

    def check(self, base: WeightManifest, target: WeightManifest) -> None:
        """Nothing when it turns exactly `base` into exactly `target`."""
        if not is_comparable(base, target):
            raise WeightError(f"versions {base.version} and {target.version} hold different tensors")
        expected = json.loads(json.dumps(_header(base, target) | {"block_elements": self._block_elements}))
        if self._header != expected:
            raise WeightError(
                f"the delta makes version {self._header.get('version')} of {self._header.get('base')}, with "
                f"other checksums than those of {target.version} and {base.version}"
            )

    def change(self, values: NDArray[Any]) -> None:
        """Add the differences of the next tensor to `values`, in place."""
        for begin in range(0, len(values), self._block_elements):
            block = values[begin : begin + self._block_elements]
            for where, difference in self._next_block(len(block), block.dtype):
                block[where] += difference

    def _next_block(self, num_elements: int, dtype: Any) -> Iterator[tuple[Any, NDArray[Any]]]:
        width, number, gap_bytes, body_bytes = _BLOCK.unpack(self._take(_BLOCK.size))
        body = self._take(body_bytes)
        if number == 0:
            return
        expected = gap_bytes + number * dtype.itemsize
        if number > num_elements or gap_bytes > 4 * num_elements or width not in (DENSE, *GAP_DTYPES):
            raise _TornError(f"{number} differences in a block of {num_elements} elements")
        content = _decompressed(body, expected)
        if len(content) != expected:
            raise _TornError(f"a block of {len(content)} bytes, not {expected}")
        planes = np.frombuffer(content, np.uint8, offset=gap_bytes).reshape(dtype.itemsize, number)
        difference = _unzigzag(np.ascontiguousarray(planes.T).view(dtype).reshape(-1))
        where: Any = slice(None)
        if width == DENSE:
            if number != num_elements:
                raise _TornError(f"{number} differences for all {num_elements} elements")
        else:
            where = positions_of(width, content[:gap_bytes])
            if len(where) != number or where[-1] >= num_elements:
                raise _TornError("its gaps lead out of the block")
        yield where, difference

    def check_end(self) -> None:
        """Nothing when all has been read."""
        if self._at != len(self._content):
            raise _TornError(f"{len(self._content) - self._at} bytes too many")


def _decompressed(frame: memoryview, max_bytes: int) -> bytes:
    """The content of a zstd frame; never more than `max_bytes`, whatever the frame claims."""
    try:
        if not 0 <= zstandard.frame_content_size(frame) <= max_bytes:
            raise _TornError("a frame larger than it can be")
        return zstandard.ZstdDecompressor().decompress(frame, max_output_size=max_bytes)
    except zstandard.ZstdError as error:
        raise _TornError(f"a frame cannot be read: {error}") from None
