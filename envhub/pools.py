"""The hub's worker processes, a pool for each environment: what one does to its workers harms no other.

Loops, all of them for ever: one per worker slot keeps a worker alive (started when the environment is first
used, replaced when it dies), one watches what the workers hold. Callers wait for the first workers of an
environment for at most `START_S`, for a new one in place of a dead one for at most `step_timeout_s`.
"""

import asyncio
import itertools
import logging
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from common.aio import background, within
from common.errors import PreflightError
from envhub.config import HubConfig
from envhub.holdings import Holdings, look
from envhub.refusal import HubRefusal
from envhub.workers import START_S, Worker

CATALOGUE = ""
"""The pool that answers what no environment's own pool is asked: what there is."""
AGAIN_S = 1.0
"""After a worker could not be started it is tried again."""
WATCH_S = 1.0
"""How often the workers are looked at."""

_log = logging.getLogger(__name__)


class WorkerPool:
    """The living workers of one environment, as many as configured as far as the machine allows."""

    def __init__(self, name: str, config: HubConfig) -> None:
        self.name = name
        self.limits = config.pool(name)
        self.num_lost = 0
        """Workers that died or were killed since the hub began."""
        self._living: list[Worker] = []
        self._changed = asyncio.Condition()
        self._wanted = asyncio.Event()
        self._has_started = False
        self._is_awaited = name in config.environments
        self.num_workers = 1 if name == CATALOGUE else self.limits.num_workers

    @property
    def living(self) -> tuple[Worker, ...]:
        """Workers that answer."""
        return tuple(worker for worker in self._living if worker.death is None)

    @property
    def num_sessions(self) -> int:
        """Sessions on living workers, those just being opened included."""
        return sum(len(worker.sessions) for worker in self.living)

    async def least_loaded(self) -> Worker:
        """The living worker with the fewest sessions; `no_worker` when none comes up in time.

        The first call waits for all of them, so that the first sessions do not crowd together.
        """
        try:
            if not self._has_started:
                await within(START_S, self.all_up(), "the first workers", TimeoutError)
            if not self.living:
                await within(self.limits.step_timeout_s, self._some_up(), "a new worker", TimeoutError)
        except TimeoutError:
            raise HubRefusal("no_worker", "no environment worker is up; try again") from None
        return min(self.living, key=lambda worker: len(worker.sessions))

    async def all_up(self) -> None:
        """Start them, unless they were started before, and wait until every worker is up."""
        self._wanted.set()
        async with self._changed:
            await self._changed.wait_for(lambda: len(self.living) == self.num_workers)
        self._has_started = True

    async def _some_up(self) -> None:
        async with self._changed:
            await self._changed.wait_for(lambda: self.living)

    async def keep(self) -> None:
        """Once wanted, keep one worker alive for ever: start it, read its answers, replace it when gone.

        PreflightError when it does not come up before the hub is; later it is tried again.
        """
        await self._wanted.wait()
        while True:
            try:
                worker = await Worker.start(self.limits)
            except (PreflightError, OSError) as error:
                if self._is_awaited and not self._has_started:
                    raise
                _log.error("worker not started environment=%s reason=%s", self.name, error)
                await asyncio.sleep(AGAIN_S)
                continue
            try:
                self._living.append(worker)
                async with self._changed:
                    self._changed.notify_all()
                await worker.read_answers()
            finally:
                self._living.remove(worker)
                await worker.end()
            self.num_lost += 1

    def kill_large(self, found: dict[int, Holdings]) -> None:
        """Kill the workers that hold (by process id) more than they may."""
        limits = self.limits
        for worker in self.living:
            held = found.get(worker.pid, Holdings(0, 0, 0))
            for amount, most, told in (
                (held.memory_bytes, limits.max_worker_bytes, "{mib} MiB (max_worker_bytes)"),
                (held.disk_bytes, limits.max_disk_bytes, "{mib} MiB on disk (max_worker_disk_bytes)"),
                (held.num_processes, limits.max_processes, "{most} processes (max_worker_processes)"),
            ):
                if amount > most:
                    limit = told.format(mib=most >> 20, most=most)
                    worker.kill("worker_too_large", f"its worker held more than {limit} and was replaced")
                    break


class Pools:
    """Every pool of the hub by the name of its environment; use `worker_pools` to make them."""

    def __init__(self, config: HubConfig, environments: Iterable[str]) -> None:
        self.environments = tuple(environments)
        self._pools = {name: WorkerPool(name, config) for name in (CATALOGUE, *self.environments)}

    def __getitem__(self, environment: str) -> WorkerPool:
        """The pool of an environment that is served; KeyError otherwise."""
        return self._pools[environment]

    def __contains__(self, environment: str) -> bool:
        """Whether the environment is served."""
        return environment in self._pools and environment != CATALOGUE

    @property
    def living(self) -> tuple[Worker, ...]:
        """All workers that answer."""
        return tuple(itertools.chain.from_iterable(pool.living for pool in self._pools.values()))

    @property
    def num_lost(self) -> dict[str, int]:
        """Workers lost since the hub began, by environment."""
        return {name: pool.num_lost for name, pool in self._pools.items() if name != CATALOGUE}

    @property
    def num_sessions(self) -> dict[str, int]:
        """Sessions in play, by environment."""
        return {name: self._pools[name].num_sessions for name in self.environments}

    async def watch(self) -> None:
        """Look at what all workers hold, for ever, and kill those that hold too much."""
        while True:
            await asyncio.sleep(WATCH_S)
            await self.watch_once()

    async def watch_once(self) -> None:
        """One look; /proc is read in a thread. Where it cannot be read now, the next look may."""
        try:
            found = await asyncio.to_thread(look, {worker.pid: worker.folder for worker in self.living})
        except OSError as error:
            _log.error("workers not looked at reason=%s", error)
            return
        for pool in self._pools.values():
            pool.kill_large(found)

    def loops(self) -> list[WorkerPool]:
        """Each pool once for every worker that it keeps."""
        return [pool for pool in self._pools.values() for _ in range(pool.num_workers)]


@asynccontextmanager
async def worker_pools(config: HubConfig, environments: Iterable[str]) -> AsyncIterator[Pools]:
    """Pools for as long as the body runs; those of `hub.environments` have all their workers up before.

    PreflightError when a worker cannot start.
    """
    pools = Pools(config, environments)
    async with background(pools.watch(), *(pool.keep() for pool in pools.loops())):
        async with asyncio.TaskGroup() as group:
            for name in config.environments:
                group.create_task(pools[name].all_up())
        yield pools
