"""Files of the run folder from one host to another, whole or not at all; what is there already stays.

Hosts that share the folder have the same files, so nothing is copied between them.
"""

from pathlib import Path

from launch.hosts.folder import HostFolder, checksum
from launch.hosts.link import Link
from launch.hosts.wire import CHUNK_BYTES


async def copy(source: Link, target: Link, wanted: dict[str, str]) -> int:
    """Copy files, given with their checksums; how many had to be. PreflightError when one arrives torn."""
    have = await target.request("digest", names=list(wanted))
    missing = [name for name in wanted if have.get(name) != wanted[name]]
    for name in missing:
        offset = 0
        while True:
            data = await source.request("read", name=name, offset=offset)
            if data or not offset:
                await target.request("write", name=name, offset=offset, data=data, is_secret=False)
            offset += len(data)
            if len(data) < CHUNK_BYTES:
                break
        await target.request("accept", name=name, checksum=wanted[name])
    return len(missing)


async def send(target: Link, folder: Path, names: list[str], *, is_secret: bool = False) -> None:
    """Small files of `folder` here to the same place on a host, where they differ."""
    have = await target.request("digest", names=names)
    for name in names:
        file = HostFolder(folder).inside(name)
        if have.get(name) != (expected := checksum(file)):
            await target.request("write", name=name, offset=0, data=file.read_bytes(), is_secret=is_secret)
            await target.request("accept", name=name, checksum=expected)
