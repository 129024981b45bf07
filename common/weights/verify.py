"""The last look at a weight file before an engine may see it."""

import os
from pathlib import Path

import xxhash

from common.errors import WeightError
from common.messages import TensorEntry, WeightManifest
from common.weights import layout
from common.weights.manifest import file_bytes

BLOCK_BYTES = 1 << 20
"""Read and hashed at a time: fits a cache."""


def verify(manifest: WeightManifest, path: Path) -> None:
    """Return when `path` is, byte for byte, what `manifest` describes; WeightError with the reason otherwise.

    Checked are size, version, the names, dtypes, shapes and places of all tensors, and every checksum.
    """
    try:
        with path.open("rb", buffering=0) as file:
            _verify(manifest, file.fileno())
    except OSError as error:
        raise WeightError(f"version {manifest.version}: {path}: {error.strerror}") from None
    except WeightError as error:
        raise WeightError(f"version {manifest.version}: {path}: {error}") from None


def _verify(manifest: WeightManifest, file: int) -> None:
    size = os.fstat(file).st_size
    if size != file_bytes(manifest):
        raise WeightError(f"{size} bytes, not {file_bytes(manifest)}")
    length, data_start = layout.parse(os.pread(file, 8, 0), size)
    version, tensors = layout.parse_header(os.pread(file, length, 8), data_start)
    if version != manifest.version:
        raise WeightError(f"the file is version {version}")
    expected = {t.name: (layout.DTYPES[t.dtype][0], t.shape, t.offset, t.num_bytes) for t in manifest.tensors}
    if tensors != expected:
        names = sorted(name for name in tensors.keys() | expected if tensors.get(name) != expected.get(name))
        raise WeightError(
            f"the header and the manifest disagree about {len(names)} tensors, first {names[0]!r}"
        )
    buffer = memoryview(bytearray(BLOCK_BYTES))
    for tensor in manifest.tensors:
        if _checksum(file, tensor, buffer) != tensor.checksum:
            raise WeightError(f"tensor {tensor.name!r} fails its checksum")


def _checksum(file: int, tensor: TensorEntry, buffer: memoryview) -> int:
    checksum = xxhash.xxh3_64()
    offset, end = tensor.offset, tensor.offset + tensor.num_bytes
    while offset < end:
        read = os.preadv(file, [buffer[: end - offset]], offset)
        if read == 0:
            raise WeightError(f"tensor {tensor.name!r} ends early")
        checksum.update(buffer[:read])
        offset += read
    return checksum.intdigest()
