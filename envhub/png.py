"""PNG files, written with the standard library alone."""

import struct
import zlib
from collections.abc import Iterable

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_TRUE_COLOUR, _INDEXED = 2, 3


def png(width: int, height: int, rows: Iterable[bytes], palette: bytes = b"") -> bytes:
    """The picture whose rows these are: with a palette a byte a pixel, its place there; else three, RGB."""
    kind = _INDEXED if palette else _TRUE_COLOUR
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0))]
    if palette:
        chunks.append((b"PLTE", palette))
    # The byte before a row says that it is not filtered.
    chunks += [(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows))), (b"IEND", b"")]
    return _SIGNATURE + b"".join(_chunk(name, body) for name, body in chunks)


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
