"""Text as every wire can carry it, and what went wrong as a message of one line."""

import re

MAX_LINE = 600
"""Characters of a message about something that may have any length."""
_FOLDERS = re.compile(r"(?<![\w:/.])/(?:[^\s/:'\"()]+/)+")


def sendable(text: str) -> str:
    """The text; half a surrogate pair, which no wire carries, becomes a question mark."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def one_line(text: str, limit: int = MAX_LINE) -> str:
    """What somebody else's error says, on one line of at most so many characters.

    Files stand there by their names alone: messages go to clients, who are never told where on this machine
    something lies.
    """
    return _FOLDERS.sub("", " ".join(sendable(text).split()))[:limit]
