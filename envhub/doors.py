"""What stands between the network and the handlers: who may enter, how often, and how a refusal looks."""

import asyncio
import base64
import binascii
import hashlib
import hmac
import ipaddress
import math
from collections.abc import Awaitable, Callable, Iterable

from aiohttp import web
from aiohttp.typedefs import Middleware

from common.errors import ConfigurationError
from envhub.config import HubConfig
from envhub.endpoints import OPEN_PATHS
from envhub.limits import Buckets, client_of
from envhub.metrics import HubMetrics
from envhub.refusal import Code, HubRefusal
from envhub.wire import answer

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_OWNER = web.RequestKey("owner", str)
_OPENING = ("/v1/sessions", "/create", "/createEnv", "/reset")
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


def admission(tokens: Iterable[str], config: HubConfig) -> Middleware:
    """With tokens everything but `OPEN_PATHS` needs one; without, whoever reaches the hub may play.

    `Authorization: Bearer TOKEN`, or the password of Basic authorization, which clients that know no tokens
    send for `http://any:TOKEN@host:port`. Who has none is told nothing else, whatever was asked for, and
    after `strangers_per_s` not even that.
    """
    owners = [(_digest(_bytes(token)), _digest(_bytes(token)).hex()[:16]) for token in tokens]
    origins = frozenset(config.cors_origins)
    strangers = Buckets(config.strangers_per_s)

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        if not owners or request.path in OPEN_PATHS:
            return await handler(request)
        # A browser asks whether it may ask (OPTIONS) without saying who it is.
        origin = request.headers.get("Origin", "")
        if request.method == "OPTIONS" and origin and origins & {origin, "*"}:
            return _may_ask(origin)
        given = _digest(_given_token(request.headers.get("Authorization", "")))
        # Every token is compared, in constant time: how long it takes tells nothing.
        found = [name for token, name in owners if hmac.compare_digest(given, token)]
        if not found:
            if wait_s := strangers.take(client_of(request.remote or "")):
                raise HubRefusal("rate_limited", "too many calls without a token", wait_s)
            raise HubRefusal("unauthorized", "a token is needed: Authorization: Bearer TOKEN")
        request[_OWNER] = found[0]
        return await handler(request)

    return middleware


def rates(config: HubConfig) -> Middleware:
    """Nobody calls, or begins sessions, faster than the configuration allows: no address, and no token."""
    calls, opens = Buckets(config.calls_per_s), Buckets(config.opens_per_s)

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        clients = (client_of(request.remote or ""), f"token {owner(request)}")
        for limit, buckets in (("calls_per_s", calls), ("opens_per_s", opens)):
            if buckets is opens and not _opens(request):
                break
            # Where there are no tokens, an address is all that is known of a client.
            for client in clients if owner(request) else clients[:1]:
                if wait_s := buckets.take(client):
                    raise HubRefusal("rate_limited", f"more calls than hub.{limit} allows", wait_s)
        return await handler(request)

    return middleware


def whole_bodies(deadline_s: float) -> Middleware:
    """No handler waits for a slow sender: the body is there before it is asked for, or it is refused."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        if not request.content.is_eof():
            try:
                async with asyncio.timeout(deadline_s):
                    await request.read()
            except TimeoutError:
                raise HubRefusal("too_slow", f"the body did not come within {deadline_s:g} s") from None
            except (web.RequestPayloadError, ConnectionError):
                raise HubRefusal("bad_request", "the body is not what its head says") from None
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


def _opens(request: web.Request) -> bool:
    """Whether it begins an episode: of `/v1`, or of a dialect, where `create` or `reset` does."""
    return request.method == "POST" and request.path.rstrip("/").endswith(_OPENING)


def _may_ask(origin: str) -> web.Response:
    """The same for every path, those that do not exist included."""
    return web.Response(
        headers={
            "Access-Control-Allow-Origin": origin,
            "Access-Control-Allow-Methods": "GET, POST, OPTIONS",
            "Access-Control-Allow-Headers": "Content-Type, Authorization",
            "Vary": "Origin",
        }
    )


def _digest(token: bytes) -> bytes:
    """All of the same length: how long it takes to compare two tells nothing of the length of either."""
    return hashlib.sha256(token).digest()


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
    if status in (429, 503):
        response.headers["Retry-After"] = str(math.ceil(refusal.after_s))
    if refusal.code == "too_slow":
        response.force_close()
    if status == 401:
        # A browser then asks for the token, as a password, and can show /docs.
        response.headers["WWW-Authenticate"] = 'Basic realm="any name, the token as password"'
    return response
