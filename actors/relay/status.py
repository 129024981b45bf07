"""What a relay has done so far, for people and for whoever watches the run."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass
class RelayStatus:
    """Counts since the relay started."""

    version: int = -1
    """The newest that is whole and verified here; -1: none yet."""
    seconds: float = 0.0
    """Announcement heard to version in host memory, of the newest."""
    source: str = ""
    """Where that one came from."""
    deltas: int = 0
    """Versions rebuilt from a delta."""
    fulls: int = 0
    """Versions fetched whole."""
    deltas_refused: int = 0
    """A whole copy was fetched because nobody there had that delta."""
    deltas_failed: int = 0
    """A whole copy was fetched because a delta was torn or gave something else."""
    fallbacks: int = 0
    """Times the parent failed and the learner was asked."""
    failed: int = 0
    """Tries that ended without the version; it was tried again."""
    overtaken: int = 0
    """Versions given up for a newer one."""
    received_bytes: int = 0
    served_bytes: int = 0
    """To other relays."""
    refused: int = 0
    """Connections and messages turned away, and malformed announcements."""

    def row(self, name: str, port: int, updated_at: float) -> dict[str, Any]:
        """As it is written to `RUN/relays/NAME.json`; `updated_at` in seconds since the epoch."""
        return {"name": name, "port": port, "updated_at": updated_at, **asdict(self)}


def status_path(run: Path, name: str) -> Path:
    """Where the relay `name` writes its status."""
    return run / "relays" / f"{name}.json"
