"""Connections of the hub: how many there may be, how long one may idle, what is said to what is no HTTP."""

from collections import Counter
from typing import Any, Final

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from envhub.config import HubConfig
from envhub.limits import client_of
from envhub.metrics import HubMetrics
from envhub.refusal import RETRY_AFTER_S

SERVER: Final = "hub"
"""What the header `Server` says: nothing about programs and versions."""
_NO_ROOM: Final = (
    f"HTTP/1.1 503 Service Unavailable\r\nRetry-After: {RETRY_AFTER_S}\r\nServer: {SERVER}\r\n"
    "Connection: close\r\nContent-Length: 0\r\n\r\n"
).encode()
_LINGERING_S: Final = 2.0
"""So long the rest of a body that nobody wants is read and thrown away."""


class Gate:
    """Counts the connections of all the hub's ports, in all and by client."""

    def __init__(self, config: HubConfig, metrics: HubMetrics) -> None:
        self._most, self._most_of_one = config.max_connections, config.max_client_connections
        self._metrics = metrics
        self._by_client: Counter[str] = Counter()
        self._clients: dict[RequestHandler, str] = {}

    def __len__(self) -> int:
        """Connections that are open now."""
        return len(self._clients)

    def enter(self, connection: RequestHandler, client: str) -> bool:
        """Whether there is room for one more."""
        if len(self._clients) >= self._most or self._by_client[client] >= self._most_of_one:
            self._metrics.refused("too_many_connections")
            return False
        self._clients[connection] = client
        self._by_client[client] += 1
        return True

    def leave(self, connection: RequestHandler) -> None:
        """It is closed; nothing happens for one that never entered."""
        client = self._clients.pop(connection, None)
        if client is None:
            return
        self._by_client[client] -= 1
        if not self._by_client[client]:
            del self._by_client[client]

    def unreadable(self, status: int) -> None:
        """A request was refused before it was one, or its handler broke."""
        self._metrics.refused("bad_request" if status < 500 else "hub_broken")


class _Connection(RequestHandler):
    """What aiohttp could not read, and what broke, is answered without a word about either."""

    __slots__ = ("_gate",)

    def __init__(self, gate: Gate, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self._gate = gate

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        self._gate.unreadable(status)
        if status >= 500:
            # Ours: whoever runs the hub is told. What strangers send fills no log.
            super().handle_error(request, status, exc, message)
        quiet = web.Response(status=status, headers={"Server": SERVER})
        quiet.force_close()
        return quiet


class _Server(web.Server):
    def __init__(self, gate: Gate, server: web.Server, **settings: Any) -> None:
        assert server.request_handler is not None
        super().__init__(server.request_handler, request_factory=server.request_factory, **settings)
        self._gate, self._settings = gate, settings

    def __call__(self) -> RequestHandler:
        return _Connection(self._gate, self, loop=self._loop, **self._settings)

    def connection_made(self, handler: RequestHandler, transport: Any) -> None:
        super().connection_made(handler, transport)
        peer = transport.get_extra_info("peername")
        if not self._gate.enter(handler, client_of(peer[0]) if peer else ""):
            transport.write(_NO_ROOM)
            # Not before aiohttp has begun to wait for a request there.
            self._loop.call_soon(handler.force_close)

    def connection_lost(self, handler: RequestHandler, exc: BaseException | None = None) -> None:
        self._gate.leave(handler)
        super().connection_lost(handler, exc)


class GuardedRunner(web.AppRunner):
    """An application behind the gate; aiohttp's own `AppRunner` has no limits on connections.

    A connection that has no request under way, or has only begun one, is closed after `hub.idle_s`.
    """

    __slots__ = ("_gate", "_settings")

    def __init__(
        self, application: web.Application, gate: Gate, config: HubConfig, shutdown_timeout: float
    ) -> None:
        super().__init__(application, access_log=None, shutdown_timeout=shutdown_timeout)
        self._gate = gate
        self._settings = {
            "access_log": None,
            "keepalive_timeout": config.idle_s,
            "lingering_time": _LINGERING_S,
            "max_line_size": config.max_line_bytes,
            "max_field_size": config.max_line_bytes,
            "max_headers": config.max_headers,
        }

    async def _make_server(self) -> web.Server:
        return _Server(self._gate, await super()._make_server(), **self._settings)
