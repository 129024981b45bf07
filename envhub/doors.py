"""What stands between the network and the handlers: who may enter, and how a refusal looks."""

import base64
import binascii
import hashlib
import hmac
import ipaddress
from collections.abc import Awaitable, Callable, Iterable

from aiohttp import web
from aiohttp.typedefs import Middleware

from common.errors import ConfigurationError
from envhub.endpoints import OPEN_PATHS
from envhub.metrics import HubMetrics
from envhub.refusal import RETRY_AFTER_S, Code, HubRefusal
from envhub.wire import answer

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_OWNER = web.RequestKey("owner", str)
_CODES: dict[int, Code] = {404: "unknown_path", 413: "too_large"}


def owner(request: web.Request) -> str:
    """Whose request it is: made from the token that it came with; empty where the hub has no token."""
    found: str = request.get(_OWNER, "")
    return found


def structured_errors(metrics: HubMetrics) -> Middleware:
    """Every refusal leaves as `{"error": {"code", "message"}}` with its status, and is counted."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except HubRefusal as refusal:
            return _response(request, refusal, refusal.status, metrics)
        except ConfigurationError as error:
            return _response(request, HubRefusal("bad_request", str(error)), 400, metrics)
        except web.HTTPClientError as error:
            code = _CODES.get(error.status, "bad_request")
            told = f"{request.method} {request.path[:80]}: {error.reason}; /docs lists what there is"
            return _response(request, HubRefusal(code, told), error.status, metrics)

    return middleware


def admission(tokens: Iterable[str]) -> Middleware:
    """With tokens everything but `OPEN_PATHS` needs one; without, whoever reaches the hub may play.

    `Authorization: Bearer TOKEN`, or the password of Basic authorization, which clients that know no tokens
    send for `http://any:TOKEN@host:port`.
    """
    owners = {_bytes(token): hashlib.sha256(_bytes(token)).hexdigest()[:16] for token in tokens}

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        # A browser asks whether it may ask (OPTIONS) without saying who it is.
        if owners and request.path not in OPEN_PATHS and request.method != "OPTIONS":
            given = _given_token(request.headers.get("Authorization", ""))
            # Every token is compared, in constant time: how long it takes tells nothing.
            found = [name for token, name in owners.items() if hmac.compare_digest(given, token)]
            if not found:
                raise HubRefusal("unauthorized", "this hub needs the header Authorization: Bearer TOKEN")
            request[_OWNER] = found[0]
        return await handler(request)

    return middleware


def no_foreign_pages(origins: Iterable[str], *, is_loopback: bool) -> Middleware:
    """A web page of another origin cannot play, on a loopback hub either, unless `origins` has its own.

    Browsers name the origin of a page with every request that could change something. A page whose own name
    leads to this machine is told by that name: on a loopback hub only loopback names are the hub's.
    """
    allowed = frozenset(origins)

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        origin = request.headers.get("Origin", "")
        name = _host_name(request)
        is_own = bool(name) and origin.partition("://")[2] == request.host
        if is_loopback and is_own:
            is_own = is_loopback_name(name)
        if origin and not is_own and not allowed & {origin, "*"}:
            raise HubRefusal("foreign_origin", "pages of this origin may not use the hub (hub.cors_origins)")
        return await handler(request)

    return middleware


def is_loopback_name(host: str) -> bool:
    """Whether a name or address means this machine alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _host_name(request: web.Request) -> str:
    """The name or address in `Host`; empty where that is none, as in `x:999999`."""
    try:
        return request.url.host or ""
    except ValueError:
        return ""


def _bytes(text: str) -> bytes:
    """What stood in a header, or in the environment, before it was read as text."""
    return text.encode("utf-8", "surrogateescape")


def _given_token(header: str) -> bytes:
    scheme, _, value = header.partition(" ")
    if scheme.lower() == "bearer":
        return _bytes(value)
    if scheme.lower() != "basic":
        return b""
    try:
        return base64.b64decode(value, validate=True).partition(b":")[2]
    except (binascii.Error, ValueError):
        return b""


def _response(request: web.Request, refusal: HubRefusal, status: int, metrics: HubMetrics) -> web.Response:
    metrics.refused(refusal.code)
    body = {"error": {"code": refusal.code, "message": refusal.told}}
    response = answer(request, body, status)
    if status == 503:
        response.headers["Retry-After"] = str(RETRY_AFTER_S)
    if status == 401:
        # A browser then asks for the token, as a password, and can show /docs.
        response.headers["WWW-Authenticate"] = 'Basic realm="Pronghorn hub: any name, the token as password"'
    return response
