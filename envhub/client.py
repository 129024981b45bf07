"""The hub over HTTP: what actors play against."""

import logging
import math
from collections.abc import Callable, Sequence
from typing import Any, Self, TypeVar
from urllib.parse import quote

from pydantic import BaseModel, ValidationError

from common.errors import EnvironmentFault
from common.trajectory import TaskReference
from envhub.answers import EnvironmentInfo, LoadAnswer
from envhub.environment import StepResult
from envhub.hub import HubSession, references
from envhub.sendable import sendable
from envhub.session import Opening
from envhub.task import Task
from envhub.transport import Throttlers, Transport, nobody, reason
from envhub.wire import Wire

__all__ = ["HubClient", "HubSession", "RemoteSession", "StepResult"]

_CLOSE_S = 5.0
_log = logging.getLogger(__name__)
RecordT = TypeVar("RecordT", bound=BaseModel)


class RemoteSession:
    """A `HubSession` over HTTP; each step carries its index, so a retried one is not played twice."""

    def __init__(self, transport: Transport, identity: str, environment: str, opening: Opening) -> None:
        self._transport = transport
        self._path = f"/v1/sessions/{identity}"
        self._index = 0
        self.identity = identity
        self.hub = transport.url
        """Where it is played."""
        self.environment = environment
        self.instructions = opening.instructions
        self.observation = opening.observation
        self.horizon = opening.horizon

    async def step(self, action: str) -> StepResult:
        """Play the next turn, at most once. After a fault the session is of no more use."""
        answer = await self._transport.call(
            "POST", f"{self._path}/step", throttle=(self.environment,), body=self.body(action)
        )
        return self.heard(answer)

    def body(self, action: str) -> dict[str, Any]:
        """What the next turn is sent as; the same until it has been heard."""
        return {"index": self._index, "action": sendable(action)}

    def heard(self, answer: Any) -> StepResult:
        """The result that the hub answered; the turn has been played."""
        self._index += 1
        return _read(StepResult, answer)

    async def close(self) -> None:
        """Give the session up; never raises for a hub that does not answer."""
        try:
            await self._transport.call("DELETE", self._path, deadline_s=_CLOSE_S)
        except EnvironmentFault as fault:
            _log.debug("session not closed reason=%s", fault)


class HubClient:
    """A `Hub` over one pool of reused connections.

        async with HubClient(url, deadline_s=60, calls_per_s=2000, max_retries=3) as hub:
            session = await hub.create(TaskReference(environment="textcraft", task=name), "react")
            result = await session.step("get 2 oak logs")

    `deadline_s` bounds each call with its retries; `calls_per_s` limits the calls to each environment, those
    of several clients together where `throttlers` is given. `unreachable` is told why a try was not answered.
    """

    def __init__(
        self,
        url: str,
        *,
        deadline_s: float,
        calls_per_s: float,
        max_retries: int,
        token: str = "",
        wire: Wire = "json",
        throttlers: Throttlers | None = None,
        unreachable: Callable[[str], None] = nobody,
    ) -> None:
        self._transport = Transport(
            url,
            deadline_s=deadline_s,
            throttlers=throttlers or Throttlers(calls_per_s),
            max_retries=max_retries,
            token=token,
            wire=wire,
            unreachable=unreachable,
        )

    async def __aenter__(self) -> Self:
        await self._transport.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._transport.__aexit__()

    async def create(
        self, task: TaskReference, action_format: str, max_retries: float | None = None
    ) -> RemoteSession:
        """Begin an episode. A session whose creation was answered but not heard ends by its time to live."""
        body = {**task.model_dump(exclude={"kind", "depth"}), "action_format": action_format}
        answer = await self._transport.call(
            "POST", "/v1/sessions", throttle=(task.environment,), body=body, max_retries=max_retries
        )
        identity = answer.pop("session", None) if isinstance(answer, dict) else None
        if not isinstance(identity, str):
            raise EnvironmentFault("the hub's answer has no session")
        return RemoteSession(self._transport, identity, task.environment, _read(Opening, answer))

    async def step_many(
        self, steps: Sequence[tuple[RemoteSession, str]]
    ) -> list[StepResult | EnvironmentFault]:
        """Play the next turn of each session with its action, in one call.

        In each place the result, or the fault that befell this session alone. EnvironmentFault when the call
        itself failed, which counts once against the limit of each environment. ValueError for a session that
        stands there twice: the hub would play both turns in order, but what the second one is, is known only
        after the first one's answer.
        """
        if len({session.identity for session, _ in steps}) != len(steps):
            raise ValueError(
                "a session stands twice in one batch; its second turn needs the first one's answer"
            )
        if not steps:
            return []
        sent = [{"session": session.identity, **session.body(action)} for session, action in steps]
        environments = dict.fromkeys(session.environment for session, _ in steps)
        answer = await self._transport.call("POST", "/v1/step", throttle=environments, body={"steps": sent})
        rows = _field(answer, "results")
        if len(rows) != len(steps):
            raise EnvironmentFault(f"the hub answered {len(rows)} of {len(steps)} steps")
        return [_one_of_many(session, row) for (session, _), row in zip(steps, rows, strict=True)]

    async def describe(self, environment: str) -> EnvironmentInfo:
        """What the hub knows about an environment; EnvironmentFault when it cannot be played there."""
        return _read(EnvironmentInfo, await self._transport.call("GET", _place(environment)))

    async def catalogue(
        self, environment: str, split: str, depths: tuple[int, ...] = (), limit: int = 0
    ) -> list[Task]:
        """Tasks of a split with their depths, in their frozen order."""
        query = {"split": split, "depths": ",".join(map(str, depths)), "limit": str(limit)}
        answer = await self._transport.call("GET", f"{_place(environment)}/tasks", query=query)
        return [_read(Task, row) for row in _field(answer, "tasks")]

    async def tasks(
        self, environment: str, split: str, depths: tuple[int, ...] = (), limit: int = 0
    ) -> list[TaskReference]:
        """The same tasks as references with seed 0."""
        return references(environment, await self.catalogue(environment, split, depths, limit))

    async def vocabulary(self, environment: str) -> list[str]:
        """Every word of the environment, sorted."""
        answer = await self._transport.call("GET", f"{_place(environment)}/vocabulary")
        return [str(word) for word in _field(answer, "vocabulary")]

    async def load(self, deadline_s: float) -> LoadAnswer:
        """How busy the hub is, asked once; HubUnavailable when it does not answer."""
        return _read(
            LoadAnswer, await self._transport.call("GET", "/v1/load", deadline_s=deadline_s, max_retries=0)
        )

    async def healthy(self, deadline_s: float) -> bool:
        """Wait for the hub to answer, at most until the deadline; whether it did. Never raises."""
        try:
            await self._transport.call("GET", "/healthz", deadline_s=deadline_s, max_retries=math.inf)
        except EnvironmentFault:
            return False
        return True


def _place(environment: str) -> str:
    return f"/v1/environments/{quote(environment, safe='')}"


def _one_of_many(session: RemoteSession, row: Any) -> StepResult | EnvironmentFault:
    if not isinstance(row, dict):
        return EnvironmentFault("the hub's answer has a step that is no object")
    if "error" in row:
        return EnvironmentFault(f"hub session {session.identity}: {reason(row)}")
    try:
        return session.heard({name: value for name, value in row.items() if name != "session"})
    except EnvironmentFault as fault:
        return fault


def _field(answer: Any, name: str) -> list[Any]:
    value = answer.get(name) if isinstance(answer, dict) else None
    if not isinstance(value, list):
        raise EnvironmentFault(f"the hub's answer has no {name}")
    return value


def _read(kind: type[RecordT], answer: Any) -> RecordT:
    try:
        return kind.model_validate(answer)
    except ValidationError as error:
        raise EnvironmentFault(
            f"the hub's answer is not a {kind.__name__}: {error.error_count()} mistakes"
        ) from error
