"""How an offline trainer is asked to stop: between two steps, never inside one."""

import signal
import threading

from learner.offline.progress import is_rank_zero


def asked_to_stop() -> threading.Event:
    """An event that SIGINT and SIGTERM set, on rank 0; the other ranks do not hear them: rank 0 decides.

    To be called in the main thread of a trainer's process.
    """
    asked = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        if is_rank_zero():
            signal.signal(number, lambda *_: asked.set())
        else:
            signal.signal(number, signal.SIG_IGN)
    return asked
