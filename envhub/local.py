"""The hub without HTTP and without workers: environments played in this process."""

from contextlib import suppress
from typing import Self

from common.errors import ConfigurationError, EnvironmentFault
from common.trajectory import TaskReference
from envhub import registry
from envhub.environment import StepResult
from envhub.hub import references
from envhub.refusal import HubRefusal
from envhub.session import Session
from envhub.task import Task, checked_split, select


class LocalSession:
    """A `HubSession` that plays when it is stepped."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._index = 0
        self.instructions = session.opening.instructions
        self.observation = session.opening.observation
        self.horizon = session.opening.horizon

    async def step(self, action: str) -> StepResult:
        """Play the next turn at once."""
        try:
            result = self._session.step(self._index, action)
        except HubRefusal as refusal:
            raise EnvironmentFault(f"{refusal.code}: {refusal}") from refusal
        self._index += 1
        return result

    async def close(self) -> None:
        """Give back what the episode holds."""
        with suppress(HubRefusal):
            self._session.close()


class LocalHub:
    """A `Hub` inside one event loop, for `launch/local.py` and tests; it offers what `Hub` promises."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        return None

    async def create(self, task: TaskReference, action_format: str) -> LocalSession:
        """Begin an episode."""
        try:
            return LocalSession(Session(registry.environment(task.environment), task, action_format))
        except (HubRefusal, ConfigurationError) as error:
            raise EnvironmentFault(f"{task.environment} {task.task}: {error}") from error

    async def catalogue(
        self, environment: str, split: str, depths: tuple[int, ...] = (), limit: int = 0
    ) -> list[Task]:
        """Tasks of a split with their depths."""
        try:
            return list(select(registry.environment(environment).tasks(checked_split(split)), depths, limit))
        except ConfigurationError as error:
            raise EnvironmentFault(str(error)) from error

    async def tasks(
        self, environment: str, split: str, depths: tuple[int, ...] = (), limit: int = 0
    ) -> list[TaskReference]:
        """Tasks of a split as references."""
        return references(environment, await self.catalogue(environment, split, depths, limit))

    async def vocabulary(self, environment: str) -> list[str]:
        """The words of an environment."""
        try:
            return list(registry.environment(environment).vocabulary())
        except ConfigurationError as error:
            raise EnvironmentFault(str(error)) from error

    async def healthy(self, deadline_s: float) -> bool:
        """Always."""
        return True
