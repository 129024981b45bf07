"""What actors see of the environments: over HTTP (`HubClient`) or in this process (`LocalHub`)."""

from typing import Protocol

from common.trajectory import TaskReference
from envhub.environment import StepResult
from envhub.task import Task


class HubSession(Protocol):
    """One episode in play.

    session = await hub.create(task, "react")
    try:
        for _ in range(horizon):
            result = await session.step(action)
            if result.is_over:
                break
    finally:
        await session.close()
    """

    @property
    def instructions(self) -> str:
        """The system prompt; may be empty."""
        ...

    @property
    def observation(self) -> str:
        """What was shown first."""
        ...

    @property
    def horizon(self) -> int:
        """The environment's own suggestion; the lease decides."""
        ...

    async def step(self, action: str) -> StepResult:
        """Play the next turn, at most once; EnvironmentFault when anything but the policy failed.

        `action` is what `common.action_format.parse` read from the policy's text.
        """
        ...

    async def close(self) -> None:
        """Give the session up; never raises, what is not heard is left to the hub's time to live."""
        ...


class Hub(Protocol):
    """Tasks and sessions. A failure that says nothing about the policy is an EnvironmentFault of one line."""

    async def create(self, task: TaskReference, action_format: str) -> HubSession:
        """Begin an episode of this task with its seed."""
        ...

    async def catalogue(
        self, environment: str, split: str, depths: tuple[int, ...] = (), limit: int = 0
    ) -> list[Task]:
        """The first `limit` tasks of the given depths with what is known about each; empty and 0 mean all."""
        ...

    async def tasks(
        self, environment: str, split: str, depths: tuple[int, ...] = (), limit: int = 0
    ) -> list[TaskReference]:
        """The same tasks as references with seed 0."""
        ...

    async def vocabulary(self, environment: str) -> list[str]:
        """Every word that the environment can say or understand."""
        ...

    async def healthy(self, deadline_s: float) -> bool:
        """Wait for the hub to answer, at most until the deadline; whether it did. Never raises."""
        ...


def references(environment: str, tasks: list[Task]) -> list[TaskReference]:
    """The tasks by name, with seed 0, their kinds and their depths."""
    return [
        TaskReference(environment=environment, task=task.name, kind=task.kind, depth=task.depth)
        for task in tasks
    ]
