"""What a worker and all that it started hold together, and how they are ended together."""

import os
import signal
from contextlib import suppress
from typing import Final, NamedTuple

import psutil

MAX_SWEEPS: Final = 20
"""Of a family that goes on forking; what is stopped cannot fork, so a few are enough."""
_MAX_ENTRIES: Final = 50_000
"""Files of a folder that are counted; a folder of more is taken to be as large as any limit."""


class Holdings(NamedTuple):
    """Of one worker, with all that it started."""

    memory_bytes: int
    """Resident."""
    num_processes: int
    disk_bytes: int
    """In its own folder."""


def look(pid: int, folder: str) -> Holdings:
    """What there is now; nothing once the process is gone. OSError when /proc cannot be read."""
    family = _family(pid)
    return Holdings(sum(map(_resident, family)), len(family), _disk_bytes(folder))


def kill_family(pid: int) -> None:
    """Kill a process and all that it started, however fast they fork: all are stopped, then all are killed.

    The process itself goes last: until then whoever lost its parent is found below it.
    """
    seen: set[psutil.Process] = set()
    for _ in range(MAX_SWEEPS):
        fresh = [process for process in _family(pid) if process not in seen]
        if not fresh:
            break
        for process in fresh:
            _signal(process, signal.SIGSTOP)
        seen.update(fresh)
    for process in sorted(seen, key=lambda process: process.pid == pid):
        _signal(process, signal.SIGKILL)


def _family(pid: int) -> list[psutil.Process]:
    """The process and all below it that still run."""
    try:
        process = psutil.Process(pid)
        return [one for one in (process, *process.children(recursive=True)) if _runs(one)]
    except psutil.NoSuchProcess:
        return []


def _runs(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    return False


def _resident(process: psutil.Process) -> int:
    with suppress(psutil.NoSuchProcess):
        return int(process.memory_info().rss)
    return 0


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    with suppress(psutil.NoSuchProcess):
        process.send_signal(number)


def _disk_bytes(folder: str) -> int:
    total, waiting, num_entries = 0, [folder], 0
    while waiting:
        with suppress(FileNotFoundError, NotADirectoryError), os.scandir(waiting.pop()) as entries:
            for entry in entries:
                num_entries += 1
                if num_entries > _MAX_ENTRIES:
                    return 1 << 62
                with suppress(FileNotFoundError):
                    total += entry.stat(follow_symlinks=False).st_blocks * 512
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
    return total
