"""An episode that broke is played again: a fault is never counted as a failure of the policy."""

from collections.abc import Awaitable, Callable

from common.errors import EngineDead, EngineFault, EnvironmentFault
from common.trajectory import Trajectory

MAX_ATTEMPTS = 3
"""Of one episode whose environment or engine broke."""


async def persistently(attempt: Callable[[], Awaitable[Trajectory]]) -> Trajectory:
    """The first trajectory that `attempt` gives; the fault of the last attempt when all of them broke.

    A dead engine will not come back: EngineDead is raised at once.
    """
    for _ in range(MAX_ATTEMPTS - 1):
        try:
            return await attempt()
        except EngineDead:
            raise
        except (EnvironmentFault, EngineFault):
            continue
    return await attempt()
