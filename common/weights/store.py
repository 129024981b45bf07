"""The learner's weight files: each version once per host, in memory that every process there can map."""

import fcntl
import hashlib
import math
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Self

import xxhash
from numpy.typing import NDArray

from common.errors import PreflightError, WeightError
from common.messages import TensorEntry, WeightManifest
from common.weights import layout
from common.weights.manifest import host_identity

NamedArray = tuple[str, str, "bytes | memoryview | NDArray[Any]", tuple[int, ...]]
"""(name, dtype as in TensorEntry, the values as C-contiguous bytes, shape)."""

BLOCK_BYTES = 1 << 20
"""Hashed and copied at a time: small enough that the copy finds in cache what the checksum has just read."""
FIRST_HEADER_BYTES = 256 << 10
"""Kept free for the header of the first version, when the names are not known yet."""


def host_memory() -> Path:
    """Where files live in memory on this host; the temporary folder where there is no /dev/shm."""
    shared = Path("/dev/shm")
    return shared if os.access(shared, os.W_OK) else Path(tempfile.gettempdir())


def store_directory(run_directory: Path, root: Path | None = None) -> Path:
    """Where this host keeps the weight versions of a run; there while a learner of it lives."""
    digest = hashlib.blake2b(str(run_directory.resolve()).encode(), digest_size=8).hexdigest()
    return (root or host_memory()) / f"pronghorn-{os.getuid()}-{digest}"


def newest_version(run_directory: Path, root: Path | None = None) -> tuple[int, Path] | None:
    """The newest version that a living learner of the run holds on this host, and its file; None without.

    The file is whole; it is removed when newer versions have come.
    """
    directory = store_directory(run_directory, root)
    try:
        with (directory / "lock").open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        pass  # held: its learner lives
    except OSError:
        return None
    else:
        return None
    files = {int(file.stem.rpartition("-")[2]): file for file in directory.glob("version-*.safetensors")}
    return max(files.items(), default=None)


class WeightStore:
    """Writes weight versions and keeps the newest `keep`; what older ones left mapped stays readable.

        with WeightStore(run_directory) as store:
            manifest = store.write(version, named_arrays)       # one by one, as they are gathered
            await bus.announce(PolicyAnnouncement(manifest=manifest, ...))

    The files lie in a folder of `root` named after `run_directory`. It is emptied when a store for the same
    run is made (a learner that was killed leaves its files) and removed by `close`. PreflightError when
    another process holds it. `write` and `path` may be called from different threads.
    """

    def __init__(self, run_directory: Path, *, keep: int = 2, root: Path | None = None) -> None:
        self.directory = store_directory(run_directory, root)
        self._keep = keep
        self._held: dict[int, Path] = {}
        self._data_start = FIRST_HEADER_BYTES
        self._lock = _own(self.directory, run_directory)
        self._remove_files()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def path(self, version: int) -> Path | None:
        """The complete file of `version`; None when it is not held (any more)."""
        return self._held.get(version)

    def write(self, version: int, arrays: Iterable[NamedArray]) -> WeightManifest:
        """Write `version` and return its manifest; the file appears whole or not at all.

        Costs one copy and one checksum of the bytes, and never holds more than one array. WeightError when
        an array is not what it says it is, or the memory is full.
        """
        path = self.directory / f"version-{version:09d}.safetensors"
        with _appears_whole(path, version) as file:
            tensors = _put_header(file, version, _append(file, arrays, self._data_start))
        self._data_start = tensors[0].offset
        self._held.pop(version, None)
        self._held[version] = path
        for old in list(self._held)[: -self._keep]:
            self._held.pop(old).unlink(missing_ok=True)
        return WeightManifest(
            version=version,
            tensors=tuple(tensors),
            num_bytes=sum(tensor.num_bytes for tensor in tensors),
            host=host_identity(),
            path=str(path),
        )

    def close(self) -> None:
        """Remove every file; what is mapped somewhere stays readable there."""
        if not self._lock.closed:
            self._held.clear()
            shutil.rmtree(self.directory, ignore_errors=True)
            self._lock.close()

    def _remove_files(self) -> None:
        for file in self.directory.iterdir():
            if file.name != "lock":
                file.unlink()


def _own(directory: Path, run_directory: Path) -> BinaryIO:
    """Make `directory` ours alone; the open lock file. /dev/shm is everyone's: trust nothing found there."""
    try:
        directory.mkdir(mode=0o700, exist_ok=True)
        if directory.is_symlink() or directory.stat().st_uid != os.getuid():
            raise PreflightError(f"{directory} belongs to somebody else; remove it")
        lock = (directory / "lock").open("wb")
    except OSError as error:
        raise PreflightError(f"{directory}: no place for weights: {error.strerror}") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        raise PreflightError(f"another learner of {run_directory} is running on this host") from None
    return lock


@contextmanager
def _appears_whole(path: Path, version: int) -> Iterator[int]:
    """The descriptor of a file that gets its name when the body has succeeded, and vanishes when it fails."""
    part = path.with_suffix(".part")
    try:
        with part.open("w+b", buffering=0) as file:
            yield file.fileno()
        part.rename(path)
    except OSError as error:
        free = shutil.disk_usage(path.parent.parent).free
        raise WeightError(
            f"version {version} cannot be written to {path.parent} ({free >> 20} MiB free): {error.strerror}"
        ) from None
    finally:
        part.unlink(missing_ok=True)


def _append(file: int, arrays: Iterable[NamedArray], offset: int) -> list[TensorEntry]:
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


def _put_header(file: int, version: int, tensors: list[TensorEntry]) -> list[TensorEntry]:
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
