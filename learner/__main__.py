"""`torchrun ... -m learner CONFIG.toml`: the learner. Rank 0 leads, the other ranks serve its trainer."""

import argparse
import asyncio
import os
import signal
import sys
from pathlib import Path

from common.bus.tcp import TcpLearnerBus
from common.config import load
from common.errors import PronghornError
from common.log import configure_logging
from learner.assembly import opened
from learner.config import LearnerRoleConfig
from learner.ranks import open_trainer, serve

STOPPED = 130
"""Exit code of a learner that was asked to stop and has kept a checkpoint."""


def main() -> int:
    """Train to the last step; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m learner")
    parser.add_argument("config", nargs="+", type=Path)
    known, overrides = parser.parse_known_args()
    rank = int(os.environ.get("RANK", "0"))
    try:
        config = load(LearnerRoleConfig, known.config, overrides)
        configure_logging(f"learner-{rank}")
        if rank > 0:
            # Ctrl-C reaches the whole group of processes; rank 0 alone decides when to stop.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            serve(open_trainer(config.run.folder.policy_zero, config.learner, config.model))
            return 0
        return 0 if asyncio.run(_lead(config)) else STOPPED
    except PronghornError as error:
        print(f"pronghorn learner: {error}", file=sys.stderr)  # noqa: T201 - the one line for the person
        return error.exit_code


async def _lead(config: LearnerRoleConfig) -> bool:
    async with opened(config, lambda store: TcpLearnerBus(config.bus, config.run.name, store)) as learner:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, learner.stop)
        return await learner.run()


if __name__ == "__main__":
    sys.exit(main())
