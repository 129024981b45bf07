"""One worker process: it holds many sessions and plays them one request at a time.

Consumes requests from its socket and answers each in order; waits for nothing else. It ends when the hub's
end of the socket closes, so no worker outlives its hub. `envhub/workers.py` starts it, through
`envhub/confined.py`.
"""

import socket
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

from common.errors import ConfigurationError, PreflightError
from common.trajectory import TaskReference
from envhub import registry
from envhub.description import describe
from envhub.environment import Environment
from envhub.frames import GREETING, Inbox, encode
from envhub.refusal import HubRefusal
from envhub.session import Session, guarded
from envhub.task import checked_split, select

T = TypeVar("T")

_LEAVE_S = 1.0
"""So long sessions may take to give back what they hold when the hub is gone."""

_HOLD_S = 0.001
"""After so long the answers to steps wait for company no more; looked at between steps."""

FindEnvironment = Callable[[str], Environment]


class SessionHost:
    """The sessions of one worker; `handle` answers with a result or a refusal, and never raises."""

    def __init__(self, find: FindEnvironment = registry.environment) -> None:
        self._find_environment = find
        self._sessions: dict[str, Session] = {}
        self._operations: dict[str, Callable[..., Any]] = {
            "environments": lambda names: [self._described(name) for name in names],
            "describe": lambda name: describe(name, self._find_environment),
            "find_task": self._find_task,
            "indexed": self._indexed,
            "tasks": self._tasks,
            "vocabulary": self._vocabulary,
            "create": self._create,
            "step": self._step,
            "observation": lambda identity: self._session(identity).observation,
            "actions": lambda identity: self._session(identity).actions(),
            "render": lambda identity: self._session(identity).render(),
            "picture": lambda identity: self._session(identity).picture(),
            "detail": lambda identity: self._session(identity).detail(),
            "close": self._close,
        }

    def handle(self, request: Any) -> list[Any]:
        """The answer to `[number, operation, arguments]`."""
        number, operation, arguments = request
        try:
            return [number, "", guarded(lambda: self._operations[operation](*arguments))]
        except HubRefusal as refusal:
            if refusal.code == "environment_fault" and operation == "step":
                self._forget(arguments[0])
            return [number, refusal.code, refusal.message]
        except ConfigurationError as error:
            return [number, "bad_request", str(error)]
        except PreflightError as error:
            return [number, "environment_unavailable", str(error)]

    def answer(self, request: Any) -> bytes:
        """What `handle` answers, as bytes; what no wire can carry is the environment's fault."""
        try:
            return encode(self.handle(request))
        except (ValueError, TypeError, OverflowError) as error:
            if request[1] in ("create", "step"):
                self._forget(request[2][0])
            reason = f"the environment answered what cannot be sent: {type(error).__name__}"
            return encode([request[0], "environment_fault", reason])

    def close_all(self, deadline_s: float) -> None:
        """Close sessions until the deadline is past."""
        until = time.monotonic() + deadline_s
        for identity in tuple(self._sessions):
            if time.monotonic() > until:
                return
            self._forget(identity)

    def _described(self, name: str) -> dict[str, Any]:
        """One that breaks even when it is asked what it is, is listed as what cannot be played."""
        try:
            return guarded(lambda: describe(name, self._find_environment))
        except HubRefusal as refusal:
            return {"name": name, "is_available": False, "reason": refusal.message}

    def _find_task(self, name: str, task: str) -> dict[str, Any]:
        environment = self._environment(name)
        return _known(lambda: environment.task(task)).model_dump()

    def _indexed(self, name: str, index: int) -> dict[str, Any]:
        environment = self._environment(name)
        return _known(lambda: environment.indexed(index)).model_dump()

    def _tasks(self, name: str, split: str, depths: list[int], limit: int) -> list[dict[str, Any]]:
        try:
            chosen = checked_split(split)
        except ConfigurationError as error:
            raise HubRefusal("bad_request", str(error)) from error
        tasks = self._environment(name).tasks(chosen)
        return [task.model_dump() for task in select(tasks, tuple(depths), limit)]

    def _vocabulary(self, name: str) -> tuple[str, ...]:
        return self._environment(name).vocabulary()

    def _create(self, identity: str, task: dict[str, Any], action_format: str) -> dict[str, Any]:
        reference = TaskReference.model_validate(task)
        environment = self._environment(reference.environment)
        session = _known(lambda: Session(environment, reference, action_format))
        self._sessions[identity] = session
        return session.opening.model_dump()

    def _step(self, identity: str, index: int, action: str, is_text: bool = False) -> dict[str, Any]:
        return dict(self._session(identity).step(index, action, is_text=is_text))

    def _close(self, identity: str) -> None:
        if session := self._sessions.pop(identity, None):
            session.close()

    def _forget(self, identity: str) -> None:
        """What broke once may break again while it is closed; it is gone all the same."""
        with suppress(HubRefusal):
            self._close(identity)

    def _environment(self, name: str) -> Environment:
        try:
            return self._find_environment(name)
        except ConfigurationError as error:
            raise HubRefusal("unknown_environment", str(error)) from error
        except PreflightError as error:
            raise HubRefusal("environment_unavailable", str(error)) from error

    def _session(self, identity: str) -> Session:
        if identity not in self._sessions:
            raise HubRefusal("unknown_session", "this session is not open: it was closed, or never was")
        return self._sessions[identity]


def _known(make: Callable[[], T]) -> T:
    """What is made for a task; an unknown one is a refusal."""
    try:
        return make()
    except ConfigurationError as error:
        raise HubRefusal("unknown_task", str(error)) from error


def serve(pipe: socket.socket, host: SessionHost) -> None:
    """Answer requests until the hub is gone; steps that came together are answered together when quick.

    A quick step that came in one piece with a slow one may wait for it.
    """
    pipe.sendall(encode(GREETING))
    inbox = Inbox()
    while requests := inbox.receive(pipe):
        held, since = bytearray(), time.monotonic()
        for request in requests:
            # Nobody waits for what is not a step but those who asked for it.
            if held and (request[1] != "step" or time.monotonic() - since > _HOLD_S):
                pipe.sendall(held)
                held, since = bytearray(), time.monotonic()
            held += host.answer(request)
        pipe.sendall(held)


def work(number: int) -> None:
    """Serve on the inherited socket of this number until the hub hangs up or is gone."""
    host = SessionHost()
    with socket.socket(fileno=number) as pipe:
        # What an environment starts must not hold the pipe open when this process is gone.
        pipe.set_inheritable(False)
        with suppress(ConnectionError):
            serve(pipe, host)
    host.close_all(_LEAVE_S)
