"""`torchrun ... -m learner CONFIG.toml`: the learner. Rank 0 leads, the other ranks serve its trainer."""

import asyncio
import os
import signal
import sys

from common.bus.tcp import TcpLearnerBus
from common.role import INTERRUPTED, run_role
from learner.assembly import opened
from learner.config import LearnerRoleConfig
from learner.ranks import open_trainer, serve


def main() -> int:
    """Train to the last step; the exit code, `INTERRUPTED` when it was stopped and kept a checkpoint."""
    rank = int(os.environ.get("RANK", "0"))
    return run_role("learner", LearnerRoleConfig, _follow if rank else _lead, process=f"learner-{rank}")


def _follow(config: LearnerRoleConfig) -> int:
    # Ctrl-C reaches the whole group of processes; rank 0 alone decides when to stop.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    serve(open_trainer(config.run.folder.policy_zero, config.learner, config.model))
    return 0


def _lead(config: LearnerRoleConfig) -> int:
    return 0 if asyncio.run(_train(config)) else INTERRUPTED


async def _train(config: LearnerRoleConfig) -> bool:
    async with opened(config, lambda store: TcpLearnerBus(config.bus, config.run.name, store)) as learner:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, learner.stop)
        return await learner.run()


if __name__ == "__main__":
    sys.exit(main())
