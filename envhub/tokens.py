"""Where the hub's bearer tokens are kept: in the environment or in a file, never in a configuration."""

import os
import stat
from pathlib import Path

from common.errors import ConfigurationError
from envhub.config import TOKEN_VARIABLE, HubConfig

_MAX_BYTES = 1 << 16


def tokens(config: HubConfig) -> tuple[str, ...]:
    """All tokens that the hub takes; empty when there are none.

    From `PRONGHORN_HUB_TOKEN`, else from `hub.token_file`; ConfigurationError for a file that is missing,
    that others than its owner may read, or that has no token.
    """
    text = os.environ.get(TOKEN_VARIABLE, "")
    if not text and config.token_file:
        text = _read(Path(config.token_file))
    return split(text)


def own_token(config: HubConfig) -> str:
    """The one that a client sends: the first; empty when there are none."""
    return next(iter(tokens(config)), "")


def split(text: str) -> tuple[str, ...]:
    """Tokens that are separated by commas or stand on lines of their own."""
    return tuple(part.strip() for line in text.splitlines() for part in line.split(",") if part.strip())


def _read(path: Path) -> str:
    field = f"hub.token_file = {str(path)!r}"
    try:
        with path.open("rb") as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise ConfigurationError(f"{field}: not a file")
            if found.st_mode & 0o077:
                mode = stat.S_IMODE(found.st_mode)
                raise ConfigurationError(
                    f"{field}: its mode is {mode:04o}; only its owner may read it; run: chmod 600 {path}"
                )
            text = file.read(_MAX_BYTES).decode("utf-8", "surrogateescape")
    except OSError as error:
        raise ConfigurationError(f"{field}: {error.strerror}") from None
    if not split(text):
        raise ConfigurationError(f"{field}: has no token")
    return text
