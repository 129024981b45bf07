"""The guard: waits until the launcher is gone, then sees to it that nothing of the run lives on.

`python -m launch.guard MARK` reads its standard input, which only the launcher holds open. The end of that
input is the launcher's death, however it died. Normally nothing is left by then.
"""

import os
import signal
import sys

import psutil

MARK = "PRONGHORN_MARK"
"""Environment variable that every child, and all that it starts, inherits."""

GRACE_S = 5.0
"""Between the request to stop and the kill."""

MAX_SWEEPS = 30
"""Past this what is left cannot be killed (a disk that does not answer)."""


def marked(prefix: str) -> list[psutil.Process]:
    """All processes of this user whose mark starts with `prefix`, except this one."""
    return [p for p in psutil.process_iter() if p.pid != os.getpid() and _mark(p).startswith(prefix)]


def kill_marked(prefix: str, with_signal: signal.Signals) -> list[psutil.Process]:
    """Send a signal to all that carry the mark; returns them."""
    found = marked(prefix)
    for process in found:
        try:
            process.send_signal(with_signal)
        except psutil.NoSuchProcess:
            continue
    return found


def _mark(process: psutil.Process) -> str:
    try:
        return str(process.environ().get(MARK, ""))
    except (psutil.Error, OSError):
        return ""


def main(prefix: str) -> None:
    """Wait for the end of the input, ask what is left to stop, then kill until nothing is left."""
    sys.stdin.buffer.read()
    psutil.wait_procs(kill_marked(prefix, signal.SIGTERM), timeout=GRACE_S)
    for _ in range(MAX_SWEEPS):  # a process may have started another between the look and the kill
        found = kill_marked(prefix, signal.SIGKILL)
        if not found:
            return
        psutil.wait_procs(found, timeout=1.0)


if __name__ == "__main__":
    main(sys.argv[1])
