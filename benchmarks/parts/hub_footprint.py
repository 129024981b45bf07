"""What a hub holds: sessions, memory, open files, processes, Java machines."""

import asyncio
import os
import signal
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, fields
from random import Random
from typing import Final

import aiohttp
import psutil

from benchmarks.parts.hub_process import RunningHub

POLL_S: Final = 0.2
COUNTED: Final = ("sessions", "processes", "jvms", "hub_files", "worker_files")
"""What may not grow at all; the rest is memory."""


@dataclass(frozen=True)
class Footprint:
    """At one moment."""

    sessions: int
    processes: int
    """The hub, its workers, and what they started."""
    jvms: int
    hub_files: int
    worker_files: int
    hub_bytes: int
    """Resident memory."""
    worker_bytes: int
    jvm_bytes: int

    @classmethod
    def peak(cls, samples: Iterable["Footprint"]) -> "Footprint":
        """The largest of each."""
        rows = list(samples)
        return cls(**{f.name: max(getattr(row, f.name) for row in rows) for f in fields(cls)})


async def footprint(hub: RunningHub) -> Footprint:
    """Ask the hub for its sessions and the system for the rest."""
    async with aiohttp.ClientSession(hub.url) as http, http.get("/v1/load") as response:
        sessions = (await response.json())["sessions"]
    own = psutil.Process(hub.pid)
    held = {process: _held(process) for process in hub.descendants()}
    javas = {process: row for process, row in held.items() if row[2] == "java"}
    workers = [row for process, row in held.items() if process not in javas]
    return Footprint(
        sessions=sessions,
        processes=1 + len(held),
        jvms=len(javas),
        hub_files=own.num_fds(),
        worker_files=sum(files for files, _, _ in workers),
        hub_bytes=own.memory_info().rss,
        worker_bytes=sum(size for _, size, _ in workers),
        jvm_bytes=sum(size for _, size, _ in javas.values()),
    )


async def at_rest(hub: RunningHub, limit_s: float, begin: Footprint | None = None) -> Footprint:
    """The footprint once no session is left and, but for memory, no more is held than at the `begin`.

    When the time is over, what is held then.
    """
    deadline = time.monotonic() + limit_s
    while True:
        found = await footprint(hub)
        is_back = begin is None or all(getattr(found, name) <= getattr(begin, name) for name in COUNTED)
        if (not found.sessions and is_back) or time.monotonic() >= deadline:
            return found
        await asyncio.sleep(POLL_S)


def kill_a_worker(hub: RunningHub, random: Random) -> int | None:
    """SIGKILL for one worker, chosen at random; its process id, None when there is none."""
    workers = sorted(child.pid for child in psutil.Process(hub.pid).children())
    if not workers:
        return None
    victim = int(random.choice(workers))
    with suppress(ProcessLookupError):
        os.kill(victim, signal.SIGKILL)
    return victim


def _held(process: psutil.Process) -> tuple[int, int, str]:
    """Open files, resident bytes and name; nothing of a process that has just gone."""
    with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
        return process.num_fds(), process.memory_info().rss, process.name()
    return 0, 0, ""
