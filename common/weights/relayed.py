"""What the relay of this host has brought: its actors find it in host memory by themselves."""

import asyncio
import logging
import time
from pathlib import Path

from common.errors import WeightError
from common.messages import WeightManifest
from common.weights.store import file_name, is_alive, version_of
from common.weights.verify import verify

log = logging.getLogger(__name__)

LOOK_AGAIN_S = 0.02
"""Another process brings the file; nothing tells of it but the file."""


class Relayed:
    """The files of a living relay in `directory`, which is `store_directory` of the run on this host."""

    def __init__(self, directory: Path, patience_s: float) -> None:
        self._directory = directory
        self._patience_s = patience_s

    async def find(self, manifest: WeightManifest) -> Path | None:
        """The verified file of `manifest`, as soon as the relay has it.

        None when no relay lives here, when it dies, or has not brought the version after `patience_s`: then
        fetch it. WeightError when it has brought a newer one: then that will have been announced.
        """
        path = self._directory / file_name(manifest.version)
        looked_at: tuple[int, int] | None = None
        before = self._newer_than(manifest.version)
        deadline = time.monotonic() + self._patience_s
        while is_alive(self._directory):
            stamp = _stamp(path)
            if stamp is not None and stamp != looked_at:
                looked_at = stamp
                if await asyncio.to_thread(_is_good, manifest, path):
                    return path
            if newer := self._newer_than(manifest.version) - before:
                raise WeightError(f"version {manifest.version}: the relay went on to {max(newer)}")
            if time.monotonic() > deadline:
                log.warning(
                    "did not wait for the relay version=%d waited_s=%.1f", manifest.version, self._patience_s
                )
                return None
            await asyncio.sleep(LOOK_AGAIN_S)
        return None

    def _newer_than(self, version: int) -> set[int]:
        held = {version_of(file) for file in self._directory.glob("version-*.safetensors")}
        return {other for other in held if other > version}


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns


def _is_good(manifest: WeightManifest, path: Path) -> bool:
    """Another life of the learner may have made the same version: only the bytes tell."""
    try:
        verify(manifest, path)
    except WeightError:
        return False
    return True
