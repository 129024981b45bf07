"""What a hub serves, asked of its workers: environments, their tasks, their words."""

import difflib
from collections.abc import Iterable
from typing import Any

from envhub.config import HubConfig
from envhub.pools import CATALOGUE, Pools, WorkerPool
from envhub.refusal import HubRefusal


class Catalogue:
    """The environments that are served; every refusal is a HubRefusal."""

    def __init__(self, config: HubConfig, pools: Pools) -> None:
        self._config, self._pools = config, pools

    async def environments(self) -> list[dict[str, Any]]:
        """What is served, and of what is not available the reason.

        One worker looks at all, but for those that are played with another network than it has.
        """
        rows: dict[str, dict[str, Any]] = {}
        shared = self._pools[CATALOGUE]
        names = dict.fromkeys(self._pools.environments, shared)
        names |= {n: self._pools[n] for n in names if self._pools[n].limits.network != shared.limits.network}
        for pool in dict.fromkeys(names.values()):
            asked = [name for name in names if names[name] is pool]
            worker = await pool.least_loaded()
            found = await worker.call("environments", [self._config.spec(name) for name in asked])
            rows |= {name: {**row, "name": name} for name, row in zip(asked, found, strict=True)}
        return [rows[name] for name in names]

    async def describe(self, environment: str) -> dict[str, Any]:
        """One environment; `environment_unavailable` with the reason when it cannot be played here."""
        row: dict[str, Any] = await self._ask_any(environment, "describe")
        if not row["is_available"]:
            raise HubRefusal("environment_unavailable", row["reason"])
        return {**row, "name": environment}

    async def tasks(
        self, environment: str, split: str, depths: Iterable[int], limit: int
    ) -> list[dict[str, Any]]:
        """The first `limit` tasks of the given depths; empty and 0 mean all."""
        rows: list[dict[str, Any]] = await self._ask_any(environment, "tasks", split, list(depths), limit)
        return rows

    async def find_task(self, environment: str, name: str) -> dict[str, Any]:
        """The task of that name, or AgentGym's id, with its canonical name."""
        row: dict[str, Any] = await self._ask_any(environment, "find_task", name)
        return row

    async def indexed(self, environment: str, index: int) -> dict[str, Any]:
        """The task that AgentGym's `data_idx` means."""
        row: dict[str, Any] = await self._ask_any(environment, "indexed", index)
        return row

    async def vocabulary(self, environment: str) -> list[str]:
        """Every word of the environment."""
        words: list[str] = await self._ask_any(environment, "vocabulary")
        return words

    async def _ask_any(self, environment: str, operation: str, *arguments: Any) -> Any:
        worker = await self._pool(environment).least_loaded()
        return await worker.call(operation, self._config.spec(environment), *arguments)

    def _pool(self, environment: str) -> WorkerPool:
        if environment in self._pools:
            return self._pools[environment]
        served = self._pools.environments
        near = difflib.get_close_matches(environment[:80], served, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise HubRefusal(
            "unknown_environment",
            f"environment = {environment[:80]!r}: not served here; {hint}There are {', '.join(served)}",
        )
