"""What the bus asks of whoever keeps the learner's weights."""

from pathlib import Path
from typing import Protocol


class WeightSource(Protocol):
    """Complete weight files by version; `WeightStore` is one."""

    def path(self, version: int) -> Path | None:
        """The complete file of `version`; None when it is not held (any more)."""
        ...
