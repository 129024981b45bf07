"""The CURVE keys of one machine, in a folder of their own; `launch/keys.py` makes such folders.

    own.key_secret       this machine's pair; nobody else may read it
    learner.key          the public key of the learner: who else answers on its ports is not listened to
    admitted/NAME.key    public keys of those who may connect to what this machine serves

The files have the form of ZeroMQ's certificates, so that its own tools read them too.
"""

import hashlib
import logging
import os
import re
import stat
import struct
import time
from dataclasses import dataclass
from pathlib import Path

import zmq
from zmq.utils import z85

from common.errors import ConfigurationError

log = logging.getLogger(__name__)

LEARNER = "learner"
"""The name under which the learner's own key is known."""
SECRET_FILE = "own.key_secret"
LEARNER_FILE = "learner.key"
ADMITTED_FOLDER = "admitted"
NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
"""What a host may be called: it becomes the name of a file."""
MAX_FILE_BYTES = 4096
"""No key file is larger."""
SETTLED_NS = 2_000_000_000
"""A folder that changed less than this ago may change again without its time showing it."""


@dataclass(frozen=True)
class KeyPair:
    """A CURVE pair, both halves as 40 characters of Z85."""

    public: bytes
    secret: bytes

    def __repr__(self) -> str:
        return f"KeyPair({fingerprint(self.public)})"


def fingerprint(public: bytes) -> str:
    """Sixteen characters by which people compare public keys."""
    digest = hashlib.sha256(public).hexdigest()
    return "-".join(digest[i : i + 4] for i in range(0, 16, 4))


def read_pair(file: Path) -> KeyPair:
    """The pair in a secret file; ConfigurationError when it is missing, broken, or others may read it."""
    fields = _fields(file, is_secret=True)
    pair = KeyPair(_key(fields, "public-key", file), _key(fields, "secret-key", file))
    if zmq.curve_public(pair.secret) != pair.public:
        raise ConfigurationError(f"{file}: its public key does not belong to its secret key")
    return pair


def read_public(file: Path) -> bytes:
    """The key in a public file; ConfigurationError when it is missing, broken, or others may write it."""
    return _key(_fields(file, is_secret=False), "public-key", file)


class KeyRing:
    """What one folder holds; `admitted` follows the folder, so that hosts come and go in a live run."""

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder).expanduser()
        if not self._folder.is_dir():
            raise ConfigurationError(f"bus.keys = {folder!r}: no such folder; `pronghorn keys` makes one")
        self.own = read_pair(self._folder / SECRET_FILE)
        self._admitted: dict[bytes, str] = {}
        self._read_at: tuple[int, int] | None = None

    def peer(self, name: str) -> bytes:
        """The public key of the learner, or of the host `name`; ConfigurationError without one."""
        if name == LEARNER:
            return read_public(self._folder / LEARNER_FILE)
        if not NAME_PATTERN.fullmatch(name):
            raise ConfigurationError(f"host {name!r}: allowed are letters, digits, '.', '_' and '-'")
        return read_public(self._folder / ADMITTED_FOLDER / f"{name}.key")

    def check_admitted(self) -> None:
        """ConfigurationError for the first file in admitted/ that cannot be used, or two with one key."""
        names: dict[bytes, str] = {}
        for file in self._files():
            key = read_public(file)
            if key in names:
                raise ConfigurationError(
                    f"{file}: {names[key]}.key holds the same key; give each host its own"
                )
            names[key] = file.stem

    def admitted(self) -> dict[bytes, str]:
        """Public key -> name of those who may connect, as the folder is now; what is broken is left out."""
        try:
            found = (self._folder / ADMITTED_FOLDER).stat()
        except OSError:
            return {}
        now = (found.st_ino, found.st_mtime_ns)
        if self._read_at != now or time.time_ns() - found.st_mtime_ns < SETTLED_NS:
            self._admitted = self._read_admitted()
            self._read_at = now
        return self._admitted

    def _read_admitted(self) -> dict[bytes, str]:
        names: dict[bytes, str] = {}
        try:
            files = self._files()
        except ConfigurationError as error:
            log.error("admitted nobody any more reason=%s", error)
            return names
        for file in files:
            try:
                names.setdefault(read_public(file), file.stem)
            except ConfigurationError as error:
                log.warning("left out a key reason=%s", error)
        return names

    def _files(self) -> list[Path]:
        folder = self._folder / ADMITTED_FOLDER
        try:
            _check_rights(folder, folder.stat(), stat.S_IWGRP | stat.S_IWOTH)
            return sorted(file for file in folder.glob("*.key") if NAME_PATTERN.fullmatch(file.stem))
        except OSError as error:
            raise ConfigurationError(f"{folder}: {error.strerror}; `pronghorn keys` makes it") from None


def _fields(file: Path, *, is_secret: bool) -> dict[str, str]:
    """`name = "value"` lines of a file that only its owner may write, and read if it is secret."""
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as opened:
            found = os.fstat(descriptor)
            _check_rights(file, found, 0o077 if is_secret else stat.S_IWGRP | stat.S_IWOTH)
            if not stat.S_ISREG(found.st_mode):
                raise ConfigurationError(f"{file}: not a plain file")
            text = opened.read(MAX_FILE_BYTES).decode("utf-8", "replace")
    except OSError as error:
        raise ConfigurationError(
            f"{file}: {error.strerror}; `pronghorn keys` makes it, and a host's folder is copied whole"
        ) from None
    pairs = (line.partition("=") for line in text.splitlines() if not line.startswith("#"))
    return {name.strip(): value.strip(" \t\"'") for name, equals, value in pairs if equals}


def _check_rights(path: Path, found: os.stat_result, forbidden: int) -> None:
    if found.st_uid not in (os.geteuid(), 0):
        raise ConfigurationError(f"{path}: belongs to another user (uid {found.st_uid}); keys must be yours")
    if found.st_mode & forbidden:
        raise ConfigurationError(
            f"{path}: mode {stat.S_IMODE(found.st_mode):04o} lets others in; chmod go-rwx {path}"
        )


def _key(fields: dict[str, str], name: str, file: Path) -> bytes:
    value = fields.get(name, "").encode()
    try:
        if len(value) != 40:
            raise ValueError
        z85.decode(value)
    except (ValueError, KeyError, struct.error):
        raise ConfigurationError(f"{file}: has no {name} of 40 characters of Z85") from None
    return value
