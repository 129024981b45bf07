"""From a manifest to a file that an engine may load: mapped where it is, or fetched; verified either way."""

import asyncio
import secrets
import time
from pathlib import Path

from common.bus.bus import ActorBus
from common.errors import WeightError
from common.messages import WeightManifest
from common.weights.manifest import is_local
from common.weights.relayed import Relayed
from common.weights.store import file_name
from common.weights.verify import verify

KEEP = 2
"""Fetched versions kept per folder: the one in use and the one before."""
ABANDONED_S = 600.0
"""A part that has not grown for this long was left by a process that died."""


async def locate(
    manifest: WeightManifest, actor_bus: ActorBus, directory: Path, relayed: Relayed | None = None
) -> Path:
    """The verified file of `manifest`: the learner's own on its host, elsewhere what the host's relay brings.

    Where no relay lives, or it does not bring the version, it is a copy fetched into `directory`. Actors of
    one host may share that: what one has fetched the others use. WeightError when the version is gone, torn
    or of another model; then nothing in `directory` bears its name.
    """
    if is_local(manifest):
        path = Path(manifest.path)
        await asyncio.to_thread(verify, manifest, path)
        return path
    if relayed is not None and (brought := await relayed.find(manifest)) is not None:
        return brought
    path = directory / file_name(manifest.version)
    if not await asyncio.to_thread(_is_good, manifest, path):
        part = directory / f"{secrets.token_hex(8)}.part"
        try:
            await asyncio.to_thread(_tidy, directory)
            await actor_bus.fetch_weights(manifest, part)
            await asyncio.to_thread(_accept, manifest, part, path)
        except OSError as error:
            raise WeightError(f"version {manifest.version}: {directory}: {error.strerror}") from None
        finally:
            _remove(part)
    return path


def _is_good(manifest: WeightManifest, path: Path) -> bool:
    """A file of the same version may be there that another life of the learner made: only the bytes tell."""
    try:
        verify(manifest, path)
    except WeightError:
        return False
    return True


def _accept(manifest: WeightManifest, part: Path, path: Path) -> None:
    verify(manifest, part)
    part.rename(path)
    # By age, not by version: a learner that resumed counts on from an earlier one.
    fetched = sorted(path.parent.glob("version-*.safetensors"), key=_modified_ns)
    for old in fetched[:-KEEP]:
        _remove(old)


def _tidy(directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for part in directory.glob("*.part"):
        if _modified_ns(part) < time.time_ns() - ABANDONED_S * 1e9:
            _remove(part)


def _modified_ns(path: Path) -> int:
    """0 when it is gone: another actor of this host tidies here too."""
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)
