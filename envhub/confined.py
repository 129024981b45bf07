"""The beginning of a worker process: first the limits, then everything else.

`python -m envhub.confined ORDERS`. A process can leave the network only while it has one thread, and
libraries may make more when they are imported: what the worker is made of is imported after that.
"""

import signal
import sys

from common.errors import PreflightError
from envhub.sandbox import WorkerOrders, confine


def main() -> None:
    """Serve on the inherited socket, within the limits ordered, until the hub hangs up or is gone."""
    orders = WorkerOrders.model_validate_json(sys.argv[1])
    # Whoever signals all processes of a service means the hub, which decides when its workers end.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    try:
        confine(orders)
    except PreflightError as error:
        sys.exit(f"pronghorn: {error}")

    from envhub.worker import work  # not before: see above

    work(orders)


if __name__ == "__main__":
    main()
