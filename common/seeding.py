"""Independent seeds from one: the same on every machine and in every process."""

import hashlib


def derive_seed(seed: int, *labels: str | int) -> int:
    """A seed in [0, 2**63) for the purpose that `labels` name; different labels, unrelated seeds.

    BLAKE2b of the seed and the labels, never Python's `hash`, which differs from process to process.
    """
    text = "\x1f".join(str(part) for part in (seed, *labels))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1
