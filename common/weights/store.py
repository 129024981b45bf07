"""A host's weight files, the learner's or a relay's: each version once, in memory that all there can map."""

import fcntl
import hashlib
import os
import secrets
import shutil
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Self

from common.errors import PreflightError, WeightError
from common.messages import ChunkRequest, NotYet, WeightManifest
from common.weights.delta import is_comparable
from common.weights.deltas import Deltas, Held
from common.weights.manifest import digest_of, host_identity
from common.weights.writing import NamedArray, append, put_header

LOOK_S = 0.02
"""`is_alive` holds the lock for far less; only who holds it for longer lives."""
FIRST_HEADER_BYTES = 256 << 10
"""Kept free for the header of the first version, when the names are not known yet."""


def host_memory() -> Path:
    """Where files live in memory on this host; the temporary folder where there is no /dev/shm."""
    shared = Path("/dev/shm")
    return shared if os.access(shared, os.W_OK) else Path(tempfile.gettempdir())


def store_directory(run_directory: Path, root: Path | None = None) -> Path:
    """Where this host keeps the weight versions of a run; there while a learner of it lives."""
    whose = f"{run_directory.resolve()}\0{host_identity()}"
    digest = hashlib.blake2b(whose.encode(), digest_size=8).hexdigest()
    return (root or host_memory()) / f"pronghorn-{os.getuid()}-{digest}"


def is_alive(directory: Path) -> bool:
    """Whether a living process, a learner or a relay, keeps this store."""
    try:
        with (directory / "lock").open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def file_name(version: int) -> str:
    """Of a version's file in a store's folder."""
    return f"version-{version:09d}.safetensors"


def version_of(file: Path) -> int:
    """Which version a file of that name is."""
    return int(file.stem.rpartition("-")[2])


def newest_version(run_directory: Path, root: Path | None = None) -> tuple[int, Path] | None:
    """The newest version that a living store of the run holds on this host, and its file; None without.

    The file is whole; it is removed when newer versions have come.
    """
    directory = store_directory(run_directory, root)
    if not is_alive(directory):
        return None
    files = {version_of(file): file for file in directory.glob("version-*.safetensors")}
    return max(files.items(), default=None)


class WeightStore:
    """Keeps the newest `keep` weight versions; what older ones left mapped stays readable.

        with WeightStore(run_directory) as store:
            manifest = store.write(version, named_arrays)       # one by one, as they are gathered
            await bus.announce(PolicyAnnouncement(manifest=manifest, ...))

    The files lie in a folder of `root` named after `run_directory`. It is emptied when a store for the same
    run is made (a learner that was killed leaves its files) and removed by `close`. PreflightError when
    another process holds it. A relay has one too and fills it with `adopt`. Deltas between versions are made
    when they are first asked for, and kept as long as the version that they make: at most `keep` - 1 for
    each. Its methods may be called from different threads.
    """

    def __init__(self, run_directory: Path, *, keep: int = 2, root: Path | None = None) -> None:
        self.directory = store_directory(run_directory, root)
        self._keep = keep
        self._held: dict[int, Held] = {}
        self._data_start = FIRST_HEADER_BYTES
        self._change = threading.Lock()
        self._lock = _own(self.directory, run_directory)
        self._remove_files()
        self._deltas = Deltas(self.directory)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def find(self, request: ChunkRequest) -> Path | NotYet | None:
        """As `WeightSource.find`."""
        with self._change:
            held = self._held.get(request.version)
            if held is None or request.digest not in (None, held.digest):
                return None
            if request.base is None:
                return Path(held.manifest.path)
            base = self._held.get(request.base)
            is_there = base is not None and base.digest == request.base_digest
            return self._deltas.find(request.base_digest, base if is_there else None, held)

    def bases(self, manifest: WeightManifest) -> list[WeightManifest]:
        """The held versions that a delta to `manifest` could be of, the last that came first."""
        with self._change:
            held = [held.manifest for held in reversed(self._held.values())]
        return [base for base in held if is_comparable(base, manifest)]

    def write(self, version: int, arrays: Iterable[NamedArray]) -> WeightManifest:
        """Write `version` and return its manifest; the file appears whole or not at all.

        Costs one copy and one checksum of the bytes, and never holds more than one array. WeightError when
        an array is not what it says it is, or the memory is full.
        """
        path = self.directory / file_name(version)
        with _appears_whole(path, version) as file:
            tensors = put_header(file, version, append(file, arrays, self._data_start))
        self._data_start = tensors[0].offset
        manifest = WeightManifest(
            version=version,
            tensors=tuple(tensors),
            num_bytes=sum(tensor.num_bytes for tensor in tensors),
            host=host_identity(),
            path=str(path),
        )
        self._hold(manifest)
        return manifest

    def new_part(self) -> Path:
        """A name for a file that is to be adopted."""
        return self.directory / f"{secrets.token_hex(8)}.part"

    def adopt(
        self,
        manifest: WeightManifest,
        part: Path,
        base: WeightManifest | None = None,
        delta: Path | None = None,
    ) -> None:
        """Hold `part`, which was verified to be `manifest`'s file, and the delta that it was made with."""
        path = self.directory / file_name(manifest.version)
        part.rename(path)
        held = self._hold(manifest.model_copy(update={"path": str(path), "host": host_identity()}))
        if base is not None and delta is not None:
            with self._change:
                self._deltas.adopt(digest_of(base), held, delta)

    def _hold(self, manifest: WeightManifest) -> Held:
        held = Held(manifest, digest_of(manifest))
        with self._change:
            replaced = self._held.pop(manifest.version, None)
            if replaced is not None:
                self._deltas.drop(replaced)
            self._held[manifest.version] = held
            for old in list(self._held)[: -self._keep]:
                dropped = self._held.pop(old)
                Path(dropped.manifest.path).unlink(missing_ok=True)
                self._deltas.drop(dropped)
        return held

    def close(self) -> None:
        """Remove every file; what is mapped somewhere stays readable there."""
        if not self._lock.closed:
            self._deltas.close()
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
    for is_last in (False, False, False, True):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            if is_last:
                lock.close()
                raise PreflightError(
                    f"another learner of {run_directory} is running on this host, or its relay"
                ) from None
            time.sleep(LOOK_S)
        else:
            break
    if os.fstat(lock.fileno()).st_nlink == 0:  # whoever held it has just removed the folder
        lock.close()
        return _own(directory, run_directory)
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
