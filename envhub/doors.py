"""What stands between the network and the handlers: who may enter, and how a refusal looks."""

import hmac
from collections.abc import Awaitable, Callable

from aiohttp import web
from aiohttp.typedefs import Middleware

from common.errors import ConfigurationError
from envhub.metrics import HubMetrics
from envhub.refusal import Code, HubRefusal

RETRY_AFTER_S = 1
MAX_MESSAGE = 300

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_CODES: dict[int, Code] = {404: "unknown_path", 413: "too_large"}


def structured_errors(metrics: HubMetrics) -> Middleware:
    """Every refusal leaves as `{"error": {"code", "message"}}` with its status, and is counted."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except HubRefusal as refusal:
            return _response(refusal, refusal.status, metrics)
        except ConfigurationError as error:
            return _response(HubRefusal("bad_request", str(error)), 400, metrics)
        except web.HTTPClientError as error:
            code = _CODES.get(error.status, "bad_request")
            return _response(HubRefusal(code, f"{request.method}: {error.reason}"), error.status, metrics)

    return middleware


def admission(token: str) -> Middleware:
    """With a token everything but /healthz needs `Authorization: Bearer TOKEN`; bodies must be JSON.

    A web page of another origin cannot send JSON without the browser asking first, and the hub never
    says yes: a page open on this machine cannot play on its loopback hub.
    """

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        if token and request.path != "/healthz":
            given = request.headers.get("Authorization", "").removeprefix("Bearer ")
            if not hmac.compare_digest(given.encode(), token.encode()):
                raise HubRefusal("unauthorized", "this hub needs the header Authorization: Bearer TOKEN")
        if request.method == "POST" and request.content_type != "application/json":
            raise HubRefusal("bad_request", "Content-Type: allowed is application/json")
        return await handler(request)

    return middleware


def _response(refusal: HubRefusal, status: int, metrics: HubMetrics) -> web.Response:
    metrics.refused(refusal.code)
    headers = {"Retry-After": str(RETRY_AFTER_S)} if status == 503 else None
    body = {"error": {"code": refusal.code, "message": refusal.message[:MAX_MESSAGE]}}
    return web.json_response(body, status=status, headers=headers)
