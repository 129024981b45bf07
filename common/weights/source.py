"""What the bus asks of whoever keeps weights and serves them: the learner's store, or a relay's."""

from pathlib import Path
from typing import Protocol

from common.messages import ChunkRequest, NotYet


class WeightSource(Protocol):
    """Complete, verified weight files by version, and deltas between them; `WeightStore` is one."""

    def find(self, request: ChunkRequest) -> Path | NotYet | None:
        """The complete file that a request is about, a version's or a delta; answers at once.

        NotYet while it is on its way here or being made; None when it will not come.
        """
        ...
