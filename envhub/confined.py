"""The beginning of a worker process: first the limits, then everything else.

`python -m envhub.confined ORDERS`. A process can leave the network only while it has one thread, and
libraries may make more when they are imported: what the worker is made of is imported after that.
"""

import atexit
import os
import signal
import sys
from typing import Any

from common.errors import PreflightError
from envhub.holdings import kill_family
from envhub.sandbox import WorkerOrders, confine
from envhub.scratch import remove


def main() -> None:
    """Serve on the inherited socket, within the limits ordered, until the hub hangs up or is gone."""
    orders = WorkerOrders.model_validate_json(sys.argv[1])
    # Whoever signals all processes of a service means the hub, which decides when its workers end. This is no
    # SIG_IGN: what a world starts would inherit that, and a world could not terminate it.
    _on_signals(lambda *_: None)
    os.register_at_fork(after_in_child=lambda: _on_signals(signal.SIG_DFL))
    # Registered first, it comes last.
    atexit.register(_leave_nothing, os.getpid(), orders.folder)
    try:
        confine(orders)
    except PreflightError as error:
        sys.exit(f"pronghorn: {error}")

    from envhub.worker import work  # not before: see above

    work(orders.pipe)


def _leave_nothing(pid: int, folder: str) -> None:
    """End what worlds started and lost, and remove what they wrote, even when no hub is left to do it."""
    if os.getpid() == pid:  # and no fork of it
        kill_family(pid)
        remove(folder)


def _on_signals(handler: Any) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, handler)


if __name__ == "__main__":
    main()
