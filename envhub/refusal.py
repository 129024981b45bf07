"""Why the hub says no: a code for programs, a line for people, and the HTTP status that carries them."""

from typing import Final, Literal

from common.errors import PronghornError

Code = Literal[
    "bad_request",
    "unauthorized",
    "foreign_origin",
    "unknown_environment",
    "unknown_task",
    "unknown_session",
    "unknown_path",
    "no_picture",
    "wrong_index",
    "episode_over",
    "environment_unavailable",
    "environment_fault",
    "worker_hung",
    "worker_died",
    "worker_too_large",
    "too_large",
    "too_slow",
    "rate_limited",
    "too_many_connections",
    "hub_full",
    "hub_draining",
    "no_worker",
]

MAX_MESSAGE: Final = 300
"""Characters of a message as clients are told it."""
RETRY_AFTER_S: Final = 1
"""What 503 tells them to wait."""

STATUS: Final[dict[str, int]] = {
    "bad_request": 400,
    "unauthorized": 401,
    "foreign_origin": 403,
    "unknown_environment": 404,
    "unknown_task": 404,
    "unknown_session": 404,
    "unknown_path": 404,
    "no_picture": 404,
    "wrong_index": 409,
    "episode_over": 409,
    "environment_unavailable": 500,
    "environment_fault": 410,
    "worker_hung": 410,
    "worker_died": 410,
    "worker_too_large": 410,
    "too_large": 413,
    "too_slow": 408,
    "rate_limited": 429,
    "too_many_connections": 503,
    "hub_full": 503,
    "hub_draining": 503,
    "no_worker": 503,
}
"""410: the session is gone and will not come back, unless it was only looked at; 429, 503: ask later."""


class HubRefusal(PronghornError):  # noqa: N818 - an answer, not an error
    """The hub did not do what was asked; nothing changed in any session that still exists."""

    def __init__(self, code: Code, message: str, after_s: float = RETRY_AFTER_S) -> None:
        super().__init__(message)
        self.code: Code = code
        self.message = message
        self.after_s = after_s
        """What 429 and 503 tell clients to wait, rounded up."""

    @property
    def told(self) -> str:
        """The message for clients, on one line: an environment's own may have any form and length."""
        return " ".join(self.message.split())[:MAX_MESSAGE]

    @property
    def status(self) -> int:
        """Its HTTP status."""
        return STATUS[self.code]
