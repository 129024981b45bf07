"""Whether a manifest's file can be mapped here or must be fetched."""

import os
import socket
from functools import lru_cache
from pathlib import Path

from common.messages import WeightManifest


@lru_cache(maxsize=1)
def host_identity() -> str:
    """This host since it booted; shared memory is not older than that."""
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
