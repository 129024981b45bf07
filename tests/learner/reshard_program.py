"""What every rank runs: read the newest checkpoint of one folder, write it to another.

`torchrun -m tests.learner.reshard_program MODEL FROM TO`; afterwards rank 0 names a folder by a relative
path, which for the other rank is elsewhere, as on a host that does not share it.
"""

import os
import sys
from pathlib import Path

import pytest
import torch

from common.errors import PreflightError
from learner.checkpoint import CheckpointStore
from learner.command_channel import connect
from learner.ranks import Ranks, serve
from tests.learner.torch_side import make_trainer


def main(model: Path, source: CheckpointStore, target: CheckpointStore) -> None:
    trainer = make_trainer(model, connect("cpu"))
    if int(os.environ["RANK"]):
        os.chdir("/")
        serve(trainer)
        return
    ranks = Ranks(trainer)
    path = source.latest()
    assert path is not None
    ranks.begin_checkpoint(target, ranks.load(path).ledger).result()
    ranks.refuse_unshared(target.folder)
    os.chdir(target.folder)
    with pytest.raises(PreflightError, match="file system that they share"):
        ranks.refuse_unshared(Path("here"))
    ranks.stop()


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]), CheckpointStore(Path(sys.argv[2])), CheckpointStore(Path(sys.argv[3])))
