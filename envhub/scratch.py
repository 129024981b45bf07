"""Temporary folders of workers, below one folder per hub process.

    TMPDIR/pronghorn-hub-RANDOM/lock       locked while the process lives
                               /RANDOM/    a worker's own

A hub that was killed together with its workers leaves its folder; the next one on this machine removes it.
"""

import atexit
import fcntl
import logging
import os
import subprocess
import tempfile
import threading
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import IO

PREFIX = "pronghorn-hub-"
REMOVE_S = 60.0
_making = threading.Lock()

_log = logging.getLogger(__name__)


def worker_folder() -> str:
    """A new empty folder, for its worker alone; whoever asked removes it. Blocks."""
    with _making:
        own, _ = _own_folder()
    return tempfile.mkdtemp(dir=own)


def remove(folder: str | Path) -> None:
    """Remove a folder with all that a world may have put there, too deep for `shutil.rmtree` too. Blocks.

    What cannot be removed now is left to whoever removes the folder around it.
    """
    with suppress(OSError, subprocess.TimeoutExpired):
        if _done("rm", "-rf", "--", folder):
            # Folders that even their owner may not read.
            _done("chmod", "-R", "u+rwx", "--", folder)
            _done("rm", "-rf", "--", folder)


def _done(*command: str | Path) -> int:
    return subprocess.run(command, stderr=subprocess.DEVNULL, timeout=REMOVE_S, check=False).returncode


@lru_cache(maxsize=1)
def _own_folder() -> tuple[Path, IO[bytes]]:
    """This process's folder and its lock."""
    root = Path(tempfile.gettempdir())
    sweep(root)
    made = Path(tempfile.mkdtemp(prefix=f"new-{PREFIX}", dir=root))
    lock = (made / "lock").open("wb")
    fcntl.flock(lock, fcntl.LOCK_EX)
    folder = made.rename(root / made.name.removeprefix("new-"))  # never seen by `sweep` without its lock held
    atexit.register(remove, folder)
    return folder, lock


def sweep(root: Path) -> None:
    """Remove what hubs of this user left in `root` when they were killed."""
    for folder in root.glob(f"{PREFIX}*"):
        try:
            if folder.is_symlink() or folder.stat().st_uid != os.getuid():
                continue
            with (folder / "lock").open("rb") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                remove(folder)
            _log.debug("removed a dead hub's folder=%s", folder)
        except OSError:  # its hub lives
            continue
