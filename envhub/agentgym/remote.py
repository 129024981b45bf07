"""One connection to an AgentGym server: JSON in and out, a deadline, every failure one line.

Blocking: it lives in a worker process. No call is repeated, since a step may have been played before the
answer was lost.
"""

import base64
import http.client
import json
import select
import time
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from common.errors import ConfigurationError, EnvironmentFault
from envhub.sendable import one_line

MAX_REPLY_BYTES: Final = 16 << 20
_CHUNK: Final = 1 << 16
_MAX_REASON: Final = 200


class NoSuchPath(EnvironmentFault):
    """The server has no such path."""


class Remote:
    """The server at a base URL, which is what AgentGym's clients call `env_server_base`.

        remote.start(25.0)
        remote.post("create")                   # these together
        remote.get("observation", id=1)         # take at most 25 s

    User and password of the URL are sent as Basic authorization. ConfigurationError for what is no URL.
    """

    def __init__(self, url: str) -> None:
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise ConfigurationError("the URL of an AgentGym server: its port is no number") from None
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigurationError("the URL of an AgentGym server: allowed are http://... and https://...")
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._connection = kind(parts.hostname, port)
        self._limit_s = self._until = 0.0
        self._path = parts.path.rstrip("/")
        self.place = parts.netloc.rpartition("@")[2] + self._path
        """Host, port and path, without the password."""
        self._headers = {}
        if parts.username is not None:
            pair = f"{parts.username}:{parts.password or ''}".encode()
            self._headers["Authorization"] = f"Basic {base64.b64encode(pair).decode()}"

    def start(self, limit_s: float) -> None:
        """What is asked from now on takes at most so long, all together."""
        self._limit_s, self._until = limit_s, time.monotonic() + limit_s

    def get(self, path: str, **query: int) -> Any:
        """The JSON answer; EnvironmentFault when there is none, NoSuchPath for 404."""
        return self._call("GET", f"{path}?{urlencode(query)}" if query else path, None)

    def post(self, path: str, body: Any = None) -> Any:
        """The same with a body."""
        return self._call("POST", path, body)

    def close(self) -> None:
        """Hang up; a later call connects again."""
        self._connection.close()

    def _call(self, method: str, path: str, body: Any) -> Any:
        what = f"AgentGym server {self.place}: {method} /{path.partition('?')[0]}"
        try:
            status, answer = self._exchange(method, f"{self._path}/{path}", body)
        except TimeoutError:
            self.close()
            raise EnvironmentFault(f"{what}: no answer within {self._limit_s:g} s") from None
        except (OSError, http.client.HTTPException) as error:
            self.close()
            why = one_line(f"{type(error).__name__}: {error}", _MAX_REASON)
            raise EnvironmentFault(f"{what}: {why}") from error
        if status == 404:
            raise NoSuchPath(f"{what}: status 404")
        if status != 200:
            raise EnvironmentFault(f"{what}: status {status}")
        try:
            return json.loads(answer)
        except (ValueError, RecursionError):
            raise EnvironmentFault(f"{what}: the answer is not JSON") from None

    def _exchange(self, method: str, path: str, body: Any) -> tuple[int, bytes]:
        self._hang_up_if_hung_up_on()
        self._connection.timeout = self._left()
        headers = dict(self._headers)
        if body is not None:
            headers["Content-Type"] = "application/json"
        self._connection.request(
            method, path, body=None if body is None else json.dumps(body).encode(), headers=headers
        )
        link = self._connection.sock
        link.settimeout(self._left())
        response = self._connection.getresponse()
        chunks: list[bytes] = []
        while True:
            link.settimeout(self._left())
            chunk = response.read1(_CHUNK)
            if not chunk:
                break
            chunks.append(chunk)
            if sum(map(len, chunks)) > MAX_REPLY_BYTES:
                raise http.client.HTTPException(f"the answer is longer than {MAX_REPLY_BYTES} bytes")
        # Of a body with a length the response does not notice the end by itself.
        response.close()
        if response.length:
            raise http.client.IncompleteRead(b"", response.length)
        return response.status, b"".join(chunks)

    def _left(self) -> float:
        """Seconds until the deadline; TimeoutError past it."""
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left

    def _hang_up_if_hung_up_on(self) -> None:
        """Servers close what is idle, which would look like a lost answer to the next call."""
        link = self._connection.sock
        if link is not None and select.select([link], [], [], 0)[0]:
            self.close()
