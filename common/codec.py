"""Messages as frames and back: MessagePack for structure, raw bytes for arrays, never pickle.

    frame 0     msgpack [protocol version, kind, fields], then 8 bytes: xxh3-64 of all else in the message;
                an array is an extension of kind int32 or float32
    frame 1..   the bytes of one large array or payload each, referenced from frame 0, in order

Arrays below `FRAME_BYTES` travel inside frame 0: ZeroMQ copies frames of that size anyway, and one copy of
a few kilobytes costs less than a frame. Decoded means validated: the checksum holds, types are checked
strictly, nothing is cast. (TCP's own checksum has 16 bits: a token may turn into another under it.)
"""

import itertools
from collections.abc import Callable, Sequence
from functools import lru_cache
from types import UnionType
from typing import Any, TypeVar, get_args, overload

import msgpack
import numpy as np
import xxhash
from numpy.typing import NDArray
from pydantic import ValidationError

from common.errors import ProtocolError
from common.trajectory import Record
from common.version import PROTOCOL_VERSION

Buffer = bytes | memoryview

FRAME_BYTES = 64 << 10
"""Arrays and payloads of at least this size get a frame of their own."""
MAX_ITEMS = 1 << 16
"""The most items of one list on the wire: more than models have tensors, few enough to allot to a liar."""
MAX_PARTS = 1 << 17
"""The most maps, lists and arrays of one message: an empty map is one byte on the wire and 64 in memory."""
MAX_FIELDS = 64
"""The most fields of one record."""
SEAL_BYTES = 8
"""Of the checksum at the end of frame 0."""
TORN = "torn on the way, or of another release: the checksum does not fit"
"""The reason why such a message is refused; said again, it may arrive whole."""

_INLINE = {np.dtype("<i4"): 1, np.dtype("<f4"): 2}
_FRAMED = {np.dtype("<i4"): 17, np.dtype("<f4"): 18}
_FRAMED_BYTES = 16
_DTYPES = {code: dtype for codes in (_INLINE, _FRAMED) for dtype, code in codes.items()}

RecordT = TypeVar("RecordT", bound=Record)


def encode(message: Record) -> list[Buffer]:
    """The frames of `message`; large arrays are not copied and must not change until they are sent."""
    frames: list[Buffer] = [b""]
    frames[0] = _pack(message, frames, FRAME_BYTES)
    return seal(frames)


def seal(frames: Sequence[Buffer]) -> list[Buffer]:
    """The same frames with the checksum of all of them at the end of the first."""
    return [bytes(frames[0]) + _checksum(frames), *frames[1:]]


def _checksum(frames: Sequence[Buffer]) -> bytes:
    digest = xxhash.xxh3_64()
    for frame in frames:
        digest.update(frame)
    return digest.digest()


def _opened(frames: Sequence[Buffer]) -> list[Buffer]:
    """The frames as they were sealed; ProtocolError when they are torn."""
    content = [memoryview(frames[0])[:-SEAL_BYTES], *frames[1:]]
    if bytes(memoryview(frames[0])[-SEAL_BYTES:]) != _checksum(content):
        raise ProtocolError(TORN)
    return content


@overload
def decode(frames: Sequence[Buffer], allowed: type[RecordT]) -> RecordT: ...
@overload
def decode(frames: Sequence[Buffer], allowed: UnionType) -> Any: ...
def decode(frames: Sequence[Buffer], allowed: type[RecordT] | UnionType) -> Any:
    """The validated message in `frames`, of one of the `allowed` types (a record type or a union of them).

    Its arrays are read-only views of the frames. Raises ProtocolError with a one-line reason, and nothing
    else, whatever the frames hold.
    """
    if not frames:
        raise ProtocolError("a message without frames")
    return _validated(_opened(frames), allowed)


def _validated(frames: Sequence[Buffer], allowed: type[RecordT] | UnionType) -> Any:
    version, kind, fields = _unpack(frames)
    if type(version) is not int or version != PROTOCOL_VERSION:
        raise ProtocolError(f"protocol version {version!r:.40}; this side speaks {PROTOCOL_VERSION}")
    expected = _kinds(allowed)
    record = expected.get(kind) if isinstance(kind, str) else None
    if record is None:
        raise ProtocolError(f"kind {kind!r:.40} is not allowed here; allowed: {', '.join(expected)}")
    if not isinstance(fields, dict):
        raise ProtocolError(f"{kind}: fields are a {type(fields).__name__}, not a map")
    try:
        return record.model_validate(fields, strict=True)
    except ValidationError as error:
        raise ProtocolError(f"{kind}: {_reason(error)}") from None


def pack(message: Record) -> bytes:
    """`message` as one blob, the same form in one frame, unsealed; how the ledger stores trajectories."""
    return _pack(message, [b""], 1 << 62)


def unpack(blob: Buffer, kind: type[RecordT]) -> RecordT:
    """The validated `kind` that `pack` wrote; ProtocolError with a one-line reason when it is not one."""
    return _validated([blob], kind)  # type: ignore[no-any-return]


def kind_of(record: type[Record]) -> str:
    """The name that a record type has on the wire: its `kind` field, or the name of its class."""
    field = record.model_fields.get("kind")
    return str(field.default) if field is not None else record.__name__.lower()


@lru_cache(maxsize=64)
def _kinds(allowed: type[Record] | UnionType) -> dict[str, type[Record]]:
    records = get_args(allowed) or (allowed,)
    return {kind_of(record): record for record in records}


@lru_cache(maxsize=64)
def _payload_fields(record: type[Record]) -> tuple[str, ...]:
    return tuple(name for name, field in record.model_fields.items() if field.annotation is bytes)


def _pack(message: Record, frames: list[Buffer], frame_bytes: int) -> bytes:
    """Frame 0; what is at least `frame_bytes` long is appended to `frames` instead."""

    def framed(code: int, content: memoryview) -> Any:
        frames.append(content)
        return msgpack.ExtType(code, msgpack.packb([len(frames) - 1, content.nbytes]))

    def reduce(value: Any) -> Any:
        if isinstance(value, Record):
            fields = value.__dict__
            for name in _payload_fields(type(value)):
                if len(fields[name]) >= frame_bytes:
                    fields = fields | {name: framed(_FRAMED_BYTES, memoryview(fields[name]))}
            return fields
        if isinstance(value, np.ndarray) and value.ndim == 1 and value.dtype in _INLINE:
            if value.nbytes < frame_bytes:
                return msgpack.ExtType(_INLINE[value.dtype], value.tobytes())
            return framed(_FRAMED[value.dtype], np.ascontiguousarray(value).data.cast("B"))
        raise TypeError(f"{type(value).__name__} cannot travel on the wire")

    packed: bytes = msgpack.packb([PROTOCOL_VERSION, kind_of(type(message)), message], default=reduce)
    return packed


def _unpack(frames: Sequence[Buffer]) -> tuple[Any, Any, Any]:
    """Frame 0 as Python values with arrays in place; every other is referenced exactly once, in order."""
    indices = itertools.count(1)
    parts = itertools.count(1)

    def count() -> None:
        if next(parts) > MAX_PARTS:
            raise ProtocolError(f"more than {MAX_PARTS} maps, lists and arrays in one message")

    def whole_list(items: tuple[Any, ...]) -> tuple[Any, ...]:
        count()
        return items

    def whole_map(items: list[tuple[Any, Any]]) -> dict[Any, Any]:
        count()
        fields = dict(items)
        if len(fields) != len(items):
            raise ProtocolError("not a message: a map names a field twice")
        return fields

    try:
        envelope = msgpack.unpackb(
            frames[0],
            ext_hook=_revive(frames, indices, count),
            list_hook=whole_list,
            object_pairs_hook=whole_map,
            use_list=False,
            strict_map_key=True,
            # A header may claim any count, and memory is taken for it before a single item is read.
            max_array_len=min(len(frames[0]), MAX_ITEMS),
            max_map_len=MAX_FIELDS,
        )
    except (ValueError, TypeError, OverflowError, msgpack.UnpackException) as error:
        raise ProtocolError(f"not a message: {str(error) or type(error).__name__:.200}") from None
    used = next(indices)
    if used != len(frames):
        raise ProtocolError(f"{len(frames)} frames arrived, {used} are referenced")
    if not isinstance(envelope, tuple) or len(envelope) != 3:
        raise ProtocolError("not a message: expected [protocol version, kind, fields]")
    return envelope


def _revive(
    frames: Sequence[Buffer], indices: "itertools.count[int]", count: Callable[[], None]
) -> Callable[[int, bytes], Any]:
    def revive(code: int, data: bytes) -> Any:
        count()
        if code in _INLINE.values():
            return _vector(data, _DTYPES[code])
        if code != _FRAMED_BYTES and code not in _FRAMED.values():
            raise ProtocolError(f"not a message: unknown extension {code}")
        reference = msgpack.unpackb(data, use_list=False, max_array_len=2)
        index = next(indices)
        if not isinstance(reference, tuple) or len(reference) != 2 or reference[0] != index:
            raise ProtocolError(f"the next frame to reference is {index}, not {reference!r:.60}")
        if index >= len(frames):
            raise ProtocolError(f"frame {index} is referenced, {len(frames)} frames arrived")
        if len(frames[index]) != reference[1]:
            raise ProtocolError(f"frame {index} has {len(frames[index])} bytes, not {reference[1]!r:.40}")
        return bytes(frames[index]) if code == _FRAMED_BYTES else _vector(frames[index], _DTYPES[code])

    return revive


def _vector(data: Buffer, dtype: np.dtype[Any]) -> NDArray[Any]:
    if len(data) % dtype.itemsize:
        raise ProtocolError(f"{len(data)} bytes are no whole number of {dtype.name}")
    vector = np.frombuffer(data, dtype)
    return vector if vector.flags.aligned else vector.copy()


def _reason(error: ValidationError) -> str:
    """The first mistake in one line, without the (possibly huge) input."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    where = ".".join(" ".join(str(part).split())[:40] for part in first["loc"])
    text = str(first["msg"]).removeprefix("Value error, ").splitlines()[0][:200]
    return f"{where}: {text}" if where else text
