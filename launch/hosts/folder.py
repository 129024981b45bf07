"""The run folder of one host, as its agent reads and fills it; every path is relative to the folder."""

import os
from pathlib import Path

import xxhash

from common.errors import PreflightError, ProtocolError
from launch.hosts.wire import CHUNK_BYTES

PART = ".part"
"""A file that is being written; renamed once its checksum is right."""


class HostFolder:
    """Blocking; OSError becomes PreflightError with the path."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def inside(self, name: str) -> Path:
        """The path of a name in the folder; ProtocolError for one that leads out of it."""
        if not name or name.startswith("/") or ".." in Path(name).parts:
            raise ProtocolError(f"{name!r} is no path inside the run folder")
        return self.path / name

    def digest(self, names: list[str]) -> dict[str, str]:
        """Checksums of files, of folders those of all files in them; what does not exist is left out."""
        found: dict[str, str] = {}
        for name in names:
            path = self.inside(name)
            files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
            for file in files:
                if file.suffix != PART:
                    found[str(file.relative_to(self.path))] = checksum(file)
        return found

    def read(self, name: str, offset: int) -> bytes:
        """A piece of a file; empty at its end."""
        try:
            with self.inside(name).open("rb") as file:
                file.seek(offset)
                return file.read(CHUNK_BYTES)
        except OSError as error:
            raise PreflightError(f"{self.path / name}: {error.strerror}") from None

    def write(self, name: str, offset: int, data: bytes, *, is_secret: bool = False) -> None:
        """A piece of a file that is not yet there under its name; secret: for this account alone."""
        part = self.inside(name + PART)
        try:
            self._make_folder(part.parent, is_secret=is_secret)
            flags = os.O_WRONLY | os.O_CREAT | (0 if offset else os.O_TRUNC)
            with os.fdopen(os.open(part, flags, 0o600 if is_secret else 0o644), "wb") as file:
                file.seek(offset)
                file.write(data)
        except OSError as error:
            raise PreflightError(f"{part}: {error.strerror}") from None

    def accept(self, name: str, expected: str) -> None:
        """Give a written file its name; PreflightError when it is not what was sent."""
        part = self.inside(name + PART)
        if (found := checksum(part)) != expected:
            part.unlink()
            raise PreflightError(f"{self.path / name}: checksum {found} after copying, sent was {expected}")
        part.rename(self.path / name)

    def keep_only(self, folder: str, names: list[str]) -> None:
        """Remove the files of `folder` that are not among `names`."""
        for path in self.inside(folder).rglob("*"):
            if path.is_file() and str(path.relative_to(self.path)) not in names:
                path.unlink(missing_ok=True)

    def _make_folder(self, folder: Path, *, is_secret: bool) -> None:
        missing = [path for path in (folder, *folder.parents) if not path.exists()]
        for path in reversed(missing):
            is_private = is_secret and self.path in path.parents
            path.mkdir(mode=0o700 if is_private else 0o755, exist_ok=True)


def checksum(file: Path) -> str:
    """xxh3-128 of a file, hexadecimal."""
    digest = xxhash.xxh3_128()
    with file.open("rb") as stream:
        while chunk := stream.read(4 << 20):
            digest.update(chunk)
    return str(digest.hexdigest())
