"""Which rank this process is, on one host or on several.

torchrun numbers hosts by their addresses, so that any of them may hold its rank 0. The learner's rank 0 owns
bus, ledger and run folder: it must be on the host that `learner.rendezvous` names.
"""

import os
from datetime import timedelta

from torch.distributed import PrefixStore, TCPStore  # type: ignore[attr-defined]  # exported at run time only

from common.address import own_address, resolve
from common.errors import PreflightError
from learner.config import LearnerConfig

_AGREE = timedelta(seconds=120)
"""How long ranks wait for the leading host to say which one it is."""


def settle_rank(learner: LearnerConfig) -> int:
    """This process's rank; afterwards RANK says so to torch too.

    With several hosts the ranks of the leading host come first, the others follow in torchrun's order.
    PreflightError when as many hosts as `learner.num_hosts` did not meet.
    """
    rank = int(os.environ.get("RANK", "0"))
    if learner.num_hosts == 1:
        return rank
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world != learner.world_size:
        raise PreflightError(
            f"learner.num_hosts = {learner.num_hosts}: {world} ranks met instead of {learner.world_size}; "
            "start `pronghorn learner` on every host"
        )
    rank = (rank - _first_rank_of_leading_host(learner)) % world
    os.environ["RANK"] = str(rank)
    return rank


def _first_rank_of_leading_host(learner: LearnerConfig) -> int:
    """What the leading host's first process tells all others, through the store that torchrun has opened."""
    store = PrefixStore(
        f"pronghorn/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}",
        TCPStore(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), is_master=False, timeout=_AGREE),
    )
    leading = learner.rendezvous_address[0]
    setting = "learner.rendezvous"
    if os.environ["LOCAL_RANK"] == "0" and own_address(leading, setting) == resolve(leading, setting):
        store.set("first", os.environ["RANK"])
    return int(store.get("first"))
