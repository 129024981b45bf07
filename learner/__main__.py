"""`torchrun ... -m learner CONFIG.toml`: the learner. Rank 0 leads, the other ranks serve its trainer."""

import asyncio
import signal
import sys

from common.bus.tcp import TcpLearnerBus
from common.log import configure_logging
from common.role import INTERRUPTED, run_role
from learner.assembly import opened
from learner.config import LearnerRoleConfig
from learner.rank import settle_rank
from learner.ranks import open_trainer, serve


def main() -> int:
    """Train to the last step; the exit code, `INTERRUPTED` when it was stopped and kept a checkpoint."""
    return run_role("learner", LearnerRoleConfig, _train_as_rank)


def _train_as_rank(config: LearnerRoleConfig) -> int:
    rank = settle_rank(config.learner)
    configure_logging(f"learner-{rank}")
    return _follow(config) if rank else _lead(config)


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
