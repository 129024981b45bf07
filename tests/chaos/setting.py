"""Where a disturbed run takes place: a disk that can be filled, a clock that can jump, a bad network."""

import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from random import Random

from tests.chaos.proxy import Network, Weather
from tests.chaos.system import free_ports

DISK_BYTES = 96 << 20


@contextmanager
def small_disk(folder: Path) -> Iterator[bool]:
    """A file system of `DISK_BYTES` at `folder` while the body runs; False where none may be mounted."""
    folder.mkdir(parents=True, exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)]
    is_there = os.geteuid() == 0 and subprocess.run(mount, capture_output=True, check=False).returncode == 0
    try:
        yield is_there
    finally:
        if is_there:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


@asynccontextmanager
async def bad_network(seed: int) -> AsyncIterator[tuple[Network, tuple[str, ...]]]:
    """A network in bad weather, and the settings of a learner behind it."""
    ports = free_ports()
    weather = Weather(Random(seed), drop=0.04, duplicate=0.04, corrupt=0.04, delay=0.05, max_delay_s=0.3)
    async with Network(ports, weather).up() as network:
        yield network, tuple(f"--bus.{name}={port}" for name, port in ports.items())


def faked_clock(file: Path) -> dict[str, str] | None:
    """The environment variables of processes whose wall clock `file` moves; None without libfaketime."""
    try:
        import libfaketime
    except ImportError:
        return None
    found = sorted(Path(libfaketime.__file__).parent.rglob("libfaketime*.so*"))
    if not found:
        return None
    file.write_text("+0")
    return {
        "LD_PRELOAD": str(found[0]),
        "FAKETIME_TIMESTAMP_FILE": str(file),
        "FAKETIME_CACHE_DURATION": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "FAKETIME_XRESET": "0",
    }
