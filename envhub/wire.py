"""Bodies and answers as JSON or MessagePack: what the hub and its clients put on the wire.

A request says with Content-Type what its body is, and with Accept what the answer shall be; MessagePack is
sent only to those who ask for it, everyone else reads JSON. Nothing decoded here is ever evaluated.
"""

import json
from collections.abc import Mapping
from typing import Any, Final, Literal, TypeVar

import msgpack
from aiohttp import web
from pydantic import BaseModel

from common.config import validate
from common.errors import ConfigurationError
from envhub.refusal import HubRefusal

Wire = Literal["json", "msgpack"]
JSON: Final = "application/json"
MSGPACK: Final = "application/msgpack"
CONTENT_TYPES: Final[dict[Wire, str]] = {"json": JSON, "msgpack": MSGPACK}
BODY_TYPES: Final = tuple(CONTENT_TYPES.values())
"""What a body may be. A web page of another origin can send neither without the browser asking first."""

ModelT = TypeVar("ModelT", bound=BaseModel)

_TO_JSON = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def encode(value: Any, content_type: str) -> bytes:
    """The value as bytes; ValueError or TypeError when it has no such form, as NaN has none in JSON.

    Half a surrogate pair is no text: it is written as a question mark.
    """
    if content_type == MSGPACK:
        packed: bytes = msgpack.packb(value, unicode_errors="replace")
        return packed
    return _TO_JSON.encode(value).encode("utf-8", "replace")


def decode(body: bytes, content_type: str) -> Any:
    """The value; ConfigurationError with one line for bytes that are not what the content type says.

    MessagePack carries the values of JSON and byte strings, nothing else: extension types are refused, as are
    lengths beyond the body and maps whose keys are not text.
    """
    try:
        if content_type == JSON:
            return json.loads(body)
        if content_type == MSGPACK:
            return msgpack.unpackb(body, ext_hook=_no_extension)
    except RecursionError as error:
        raise ConfigurationError("the body is nested too deeply") from error
    except (ValueError, OverflowError, msgpack.UnpackException) as error:
        name = "JSON" if content_type == JSON else "MessagePack"
        reason = str(error) or type(error).__name__
        raise ConfigurationError(f"the body is not such {name} as the hub reads: {reason}") from error
    raise ConfigurationError(
        f"Content-Type = {content_type[:80]!r}: unsupported; allowed are {', '.join(BODY_TYPES)}"
    )


async def read_body(request: web.Request, kind: type[ModelT]) -> ModelT:
    """The validated body of a request; ConfigurationError with one line when it is not a `kind`."""
    try:
        values = decode(await request.read(), request.content_type)
        if not isinstance(values, dict):
            raise ConfigurationError("the body is not an object with named fields")
        return validate(kind, values)
    except web.RequestPayloadError as error:
        raise ConfigurationError("the body does not have the Content-Encoding that it claims") from error
    except ConnectionError as error:
        raise ConfigurationError("the body ended early: the connection is gone") from error
    except RecursionError as error:
        # Decoded just within the limit; the line that would show the value is beyond it.
        raise ConfigurationError("the body is nested too deeply") from error


def answer(
    request: web.Request, value: Any, status: int = 200, headers: Mapping[str, str] | None = None
) -> web.Response:
    """A response with the value in the form that the request accepts.

    HubRefusal `environment_fault` for a value without that form: only an environment can have made it.
    """
    content_type = accepted(request.headers.get("Accept", ""))
    try:
        body = encode(value, content_type)
    except (ValueError, TypeError, OverflowError) as error:
        raise HubRefusal(
            "environment_fault", f"the environment answered what {content_type} cannot carry"
        ) from error
    return web.Response(body=body, status=status, headers=headers, content_type=content_type)


def accepted(accept: str) -> str:
    """The content type to answer with: MessagePack when the header names it and does not prefer JSON."""
    quality = {JSON: 0.0, MSGPACK: 0.0}
    for part in accept.split(","):
        kind, *parameters = (piece.strip().lower() for piece in part.split(";"))
        if kind in quality:
            quality[kind] = _quality(parameters)
    return MSGPACK if quality[MSGPACK] > quality[JSON] else JSON


def _quality(parameters: list[str]) -> float:
    """The `q` of a media range; 1 when it has none, 0 when it is no number from 0 to 1."""
    for parameter in parameters:
        if parameter.startswith("q="):
            try:
                value = float(parameter[2:])
            except ValueError:
                return 0.0
            return value if 0.0 <= value <= 1.0 else 0.0
    return 1.0


def _no_extension(code: int, _: bytes) -> Any:
    raise ValueError(f"extension type {code}")
