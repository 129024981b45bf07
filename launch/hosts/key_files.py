"""The keys of a run on its hosts: every host has its own, and whoever is revoked here is so there too."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path

from common.errors import PronghornError
from launch.hosts.copying import send
from launch.hosts.link import Link

log = logging.getLogger(__name__)

LOOK_S = 1.0
KEYS = "keys"


async def send_keys(link: Link, folder: Path, homes: Sequence[str]) -> None:
    """The folders `homes` of the run's keys as they are here: what is not here any more goes there too."""
    for home in homes:
        names = await asyncio.to_thread(_files, folder, f"{KEYS}/{home}")
        with suppress(FileNotFoundError):  # revoked at this moment: `follow_keys` sees it
            await send(link, folder, names, is_secret=True)
            await link.request("keep_only", folder=f"{KEYS}/{home}", names=names)


async def follow_keys(folder: Path, deliver: Callable[[], Awaitable[None]]) -> None:
    """Endless: deliver at once, and whenever `pronghorn keys` has changed the keys, until it succeeds."""
    seen = None
    while True:
        if (now := await asyncio.to_thread(_state, folder)) != seen:
            try:
                await deliver()
                seen = now
            except PronghornError as error:
                log.warning("kept old keys reason=%s", error)
        await asyncio.sleep(LOOK_S)


def _files(folder: Path, inside: str) -> list[str]:
    """Relative to `folder`, without the drafts of files that are being written."""
    found = (path for path in (folder / inside).rglob("[!.]*") if path.is_file())
    return sorted(str(path.relative_to(folder)) for path in found)


def _state(folder: Path) -> dict[str, bytes]:
    """What every key file says; one that is just being replaced is seen the next time."""
    found: dict[str, bytes] = {}
    for name in _files(folder, KEYS):
        with suppress(FileNotFoundError):
            found[name] = (folder / name).read_bytes()
    return found
