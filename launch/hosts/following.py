"""A growing file, sent to the coordinator as it grows: logs, metrics, the status of the run."""

import asyncio
from pathlib import Path

from launch.hosts.wire import CHUNK_BYTES, Wire

FOLLOW_S = 0.3
"""Between two looks."""


class Follower:
    """Sends what one file of the run folder gained; a file that was replaced or cut is sent anew."""

    def __init__(self, wire: Wire, folder: Path, name: str, offset: int) -> None:
        self._wire = wire
        self._file = folder / name
        self._name = name
        self._offset = offset
        self._identity: int | None = None

    async def follow(self) -> None:
        """Endless."""
        while True:
            await self.send_new()
            await asyncio.sleep(FOLLOW_S)

    async def send_new(self) -> None:
        """Send what is new since the last call."""
        try:
            found = self._file.stat()
        except FileNotFoundError:
            return
        if found.st_size < self._offset or self._identity not in (None, found.st_ino):
            self._offset = 0
        self._identity = found.st_ino
        while data := await asyncio.to_thread(self._read):
            event = {"event": "file", "name": self._name, "offset": self._offset, "data": data}
            await self._wire.send(event)
            self._offset += len(data)

    def _read(self) -> bytes:
        with self._file.open("rb") as file:
            file.seek(self._offset)
            return file.read(CHUNK_BYTES)
