"""What a worker and all that it started hold together, and how they are ended together."""

import errno
import os
import signal
from collections.abc import Mapping
from contextlib import suppress
from typing import Final, NamedTuple

import psutil

MAX_SWEEPS: Final = 20
"""Of a family that goes on forking; what is stopped cannot fork, so a few are enough."""
_MAX_ENTRIES: Final = 50_000
"""Files of a folder that are counted."""
_OURS: Final = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
"""Why a folder cannot be read now that is no doing of its worker."""
_COUNTLESS: Final = 1 << 62
"""Taken for the size of a folder with too many files, or made unreadable, or too deep for a path."""


class Holdings(NamedTuple):
    """Of one worker, with all that it started."""

    memory_bytes: int
    """Resident."""
    num_processes: int
    """Those that ended and that nobody waited for still count."""
    disk_bytes: int
    """In its own folder."""


def look(folders: Mapping[int, str]) -> dict[int, Holdings]:
    """What each child of this process (by its id) and its folder hold now; nothing once it is gone.

    The table of processes is read once for all of them. OSError when it cannot be.
    """
    families: dict[int, list[psutil.Process]] = {pid: [] for pid in folders}
    roots: dict[int, int | None] = {pid: pid for pid in folders}
    for process in psutil.Process().children(recursive=True):  # parents come before their children
        with suppress(psutil.NoSuchProcess):
            root = roots.setdefault(process.pid, roots.get(process.ppid()))
            if root is not None:
                families[root].append(process)
    return {
        pid: Holdings(sum(map(_resident, family)), len(family), _disk_bytes(folders[pid]))
        for pid, family in families.items()
    }


def kill_family(pid: int) -> None:
    """Kill a process and all that it started, however fast they fork: all are stopped, then all are killed.

    The process itself goes last: until then whoever lost its parent is found below it. A process that asks
    this of itself lives on.
    """
    seen: set[psutil.Process] = set()
    for _ in range(MAX_SWEEPS):
        fresh = [one for one in _family(pid) if one not in seen and one.pid != os.getpid()]
        if not fresh:
            break
        for process in fresh:
            _signal(process, signal.SIGSTOP)
        seen.update(fresh)
    for process in sorted(seen, key=lambda process: process.pid == pid):
        _signal(process, signal.SIGKILL)


def _family(pid: int) -> list[psutil.Process]:
    """The process and all below it."""
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _resident(process: psutil.Process) -> int:
    with suppress(psutil.NoSuchProcess):
        return int(process.memory_info().rss)
    return 0


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    with suppress(psutil.NoSuchProcess):
        process.send_signal(number)


def _disk_bytes(folder: str) -> int:
    total, waiting, num_entries = 0, [folder], 0
    try:
        while waiting:
            with suppress(FileNotFoundError, NotADirectoryError), os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    num_entries += 1
                    if num_entries > _MAX_ENTRIES:
                        return _COUNTLESS
                    with suppress(FileNotFoundError):
                        total += entry.stat(follow_symlinks=False).st_blocks * 512
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
    except OSError as error:
        if error.errno in _OURS:
            raise
        return _COUNTLESS
    return total
