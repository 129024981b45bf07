"""What this machine has: cores, memory, disks, GPUs, packages. Looks, never changes anything."""

import errno
import importlib.metadata
import importlib.util
import os
import shutil
import socket
import subprocess
from functools import cache
from pathlib import Path

import psutil

SHARED_MEMORY = Path("/dev/shm")
GIB = 1 << 30


@cache
def gpus() -> tuple[str, ...]:
    """The name of every GPU that nvidia-smi lists; () when there is none."""
    if shutil.which("nvidia-smi") is None:
        return ()
    try:
        listing = subprocess.run(
            ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"],
            capture_output=True, text=True, timeout=20, check=True,
        )  # fmt: skip
    except (subprocess.SubprocessError, OSError):
        return ()
    return tuple(line.strip() for line in listing.stdout.splitlines() if line.strip())


def cores() -> tuple[int, ...]:
    """The cores that this process may run on."""
    return tuple(sorted(os.sched_getaffinity(0)))


def cpu_flags() -> set[str]:
    """The instruction sets that the kernel reports."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith(("flags", "Features")):
            return set(line.partition(":")[2].split())
    return set()


def memory_bytes() -> tuple[int, int]:
    """Memory in all, and what is available now; the limit of the container where it is lower."""
    memory = psutil.virtual_memory()
    limit_file = Path("/sys/fs/cgroup/memory.max")
    limit = limit_file.read_text().strip() if limit_file.exists() else "max"
    total = min(memory.total, int(limit)) if limit.isdigit() else memory.total
    return total, min(total, memory.available)


def free_bytes(path: Path) -> int:
    """Free space on the disk that holds `path`, or would hold it: the nearest folder that exists decides."""
    return shutil.disk_usage(nearest_existing(path)).free


def nearest_existing(path: Path) -> Path:
    """The path itself or its nearest ancestor that exists."""
    path = path.absolute()
    while not path.exists():
        path = path.parent
    return path


def version(*distributions: str) -> str:
    """The version of the first of these that is installed, with its name when there is a choice; "" else."""
    for name in distributions:
        try:
            found = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        return found if len(distributions) == 1 else f"{found} ({name})"
    return ""


def has_module(name: str) -> bool:
    """Whether a top-level module could be imported; does not import it."""
    return importlib.util.find_spec(name) is not None


def program_version(*command: str) -> str:
    """The first line that a program prints about itself; "" when it is not there."""
    if shutil.which(command[0]) is None:
        return ""
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (subprocess.SubprocessError, OSError):
        return "does not answer"
    return next(iter((run.stdout or run.stderr).splitlines()), "present").strip()


def can_bind(host: str, port: int) -> OSError | None:
    """None when a server could listen there now, on any port when it is 0, else why not."""
    try:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as error:
        return error
    except TypeError as error:  # what is not even a host name
        return OSError(errno.EINVAL, str(error))
    return None
