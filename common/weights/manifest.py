"""Whether a manifest's file can be mapped here or must be fetched, and which contents it stands for."""

import os
import socket
from functools import lru_cache
from pathlib import Path

import xxhash

from common.messages import WeightManifest

IDENTITY_VARIABLE = "PRONGHORN_HOST_IDENTITY"
"""Where several containers bear one name and share no memory (or a test plays several hosts), this tells
them apart: processes that see it alike are one host."""


def host_identity() -> str:
    """This host since it booted; shared memory is not older than that."""
    return os.environ.get(IDENTITY_VARIABLE) or _name_and_boot()


@lru_cache(maxsize=1)
def _name_and_boot() -> str:
    boot = Path("/proc/sys/kernel/random/boot_id")
    return f"{socket.gethostname()}/{boot.read_text().strip() if boot.exists() else 'unknown'}"


def file_bytes(manifest: WeightManifest) -> int:
    """Size of the whole file: header and tensors."""
    return max((tensor.offset + tensor.num_bytes for tensor in manifest.tensors), default=0)


def is_local(manifest: WeightManifest) -> bool:
    """True when the file of `manifest` lies on this host and can be read from here.

    Two containers may share a host's name and not its shared memory, and an older version may be gone.
    """
    return manifest.host == host_identity() and os.access(manifest.path, os.R_OK)


def digest_of(manifest: WeightManifest) -> int:
    """Which contents: 64 bits over the names, shapes, places and checksums of all tensors.

    A version's number does not tell: a learner that resumed makes the same numbers anew, of other weights.
    """
    digest = xxhash.xxh3_64()
    for t in manifest.tensors:
        digest.update(f"{t.name}\0{t.dtype}{list(t.shape)}{t.offset} {t.num_bytes} {t.checksum}\n".encode())
    return int(digest.intdigest())
