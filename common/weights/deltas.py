"""The deltas that a store has made or was given: lazily, each once, in a thread of their own."""

import logging
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from common.errors import WeightError
from common.messages import NotYet, WeightManifest
from common.weights.delta import make_delta
from common.weights.manifest import file_bytes

log = logging.getLogger(__name__)


class Held(NamedTuple):
    """A version whose file is here; the manifest's path is where."""

    manifest: WeightManifest
    digest: int


Key = tuple[int, int]
"""The digests of base and result: their numbers may come again with other contents."""


class Deltas:
    """Files of deltas in `directory`, by the contents that they lead from and to.

    Its owner calls one method at a time; the thread that makes deltas touches only files.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._made: dict[Key, Path | None] = {}
        """None: not smaller than the file, or impossible."""
        self._making: dict[Key, Future[Path | None]] = {}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="deltas")

    def find(self, base_digest: int, base: Held | None, target: Held) -> Path | NotYet | None:
        """The delta to `target` of what has `base_digest`; NotYet while it is made, which begins now.

        None when `base` is None, which is to say not held, and nobody made the delta before; or when it
        would not be smaller than the file.
        """
        key = base_digest, target.digest
        making = self._making.get(key)
        if making is not None and making.done():
            self._made[key] = making.result()
            del self._making[key]
        if key in self._made:
            return self._made[key]
        if making is None:
            if base is None or base_digest == target.digest:
                return None
            path = self._path(key)
            self._making[key] = self._thread.submit(_make, base.manifest, target.manifest, path)
        return NotYet(version=target.manifest.version, progress=_size(_part(self._path(key))))

    def adopt(self, base_digest: int, target: Held, delta: Path) -> None:
        """Keep a delta that was fetched and proved right."""
        key = base_digest, target.digest
        delta.rename(self._path(key))
        self._made[key] = self._path(key)

    def drop(self, target: Held) -> None:
        """Forget the deltas to a version that is no longer held."""
        for key in [key for key in self._made if key[1] == target.digest]:
            _remove(self._made.pop(key))
        for key in [key for key in self._making if key[1] == target.digest]:
            making = self._making.pop(key)
            making.cancel()
            making.add_done_callback(lambda made: None if made.cancelled() else _remove(made.result()))

    def close(self) -> None:
        """Wait for the delta that is being made, and make no more."""
        self._thread.shutdown(cancel_futures=True)

    def _path(self, key: Key) -> Path:
        return self._directory / f"{key[0]:016x}-{key[1]:016x}.delta"


def _make(base: WeightManifest, target: WeightManifest, path: Path) -> Path | None:
    """The delta at `path`, or None; never half a file of that name."""
    began, part = time.monotonic(), _part(path)
    try:
        size = make_delta(base, Path(base.path), target, Path(target.path), part)
        if size >= file_bytes(target):
            return None
        part.rename(path)
    except (OSError, WeightError) as error:
        log.warning("made no delta version=%d base=%d reason=%s", target.version, base.version, error)
        return None
    finally:
        _remove(part)
    log.info(
        "made a delta version=%d base=%d bytes=%d seconds=%.3f",
        target.version,
        base.version,
        size,
        time.monotonic() - began,
    )
    return path


def _part(path: Path) -> Path:
    return path.with_suffix(".part")


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _remove(path: Path | None) -> None:
    if path is not None:
        path.unlink(missing_ok=True)
