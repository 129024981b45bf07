"""The release, and the version of the wire that two processes must agree on."""

__version__ = "0.1.0"

PROTOCOL_VERSION = 1
"""Raised when a message changes so that an older peer would misread it; checked in the handshake."""
