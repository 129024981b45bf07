"""Logging, set up once per process: one line per event, in the past tense, with key=value.

    log = logging.getLogger(__name__)
    log.info("published version=%d bytes=%d seconds=%.3f", version, num_bytes, seconds)

Arguments are lazy. What happens per token is never logged; what makes a curve is a metric.
"""

import logging
import sys
import time
from pathlib import Path

QUIET = ("asyncio", "aiohttp.access", "urllib3", "wandb", "filelock")
"""Libraries heard from only when something is wrong."""


def configure_logging(process: str, file: Path | None = None, level: str = "INFO") -> None:
    """Send this process's log to `file`, or to stderr without one; each line names `process`, in UTC.

    Calling it again replaces the destination. ValueError when `level` is no level.
    """
    if file is None:
        handler: logging.Handler = logging.StreamHandler(sys.stderr)
    else:
        file.parent.mkdir(parents=True, exist_ok=True)
        handler = logging.FileHandler(file, encoding="utf-8")
    name = process.replace("%", "%%")
    handler.setFormatter(OneLine(f"%(asctime)s %(levelname)s {name} %(name)s: %(message)s"))
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
    for library in QUIET:
        logging.getLogger(library).setLevel(logging.WARNING)


class OneLine(logging.Formatter):
    """UTC times, and one line per event that no text can break. Tracebacks follow as they are."""

    converter = time.gmtime  # type: ignore[assignment]
    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the name is the library's
        """The line, with line breaks shown as escapes."""
        return super().formatMessage(record).replace("\r", "\\r").replace("\n", "\\n")
