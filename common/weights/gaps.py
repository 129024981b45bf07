"""Increasing positions as the gaps between them, in the narrowest integers that pay; all in NumPy."""

import numpy as np
from numpy.typing import NDArray

GAP_DTYPES = {width: np.dtype(f"<u{width}") for width in (1, 2, 4)}


def code_gaps(positions: NDArray[np.int64]) -> tuple[int, bytes]:
    """(width, the elements left out before each position); the width is the one that takes fewest bytes.

    The largest value of a width adds that many and is followed by the rest of the gap, so positions have no
    limit below 2^63. `positions` increase strictly and are not empty.
    """
    gaps = np.diff(positions, prepend=-1) - 1
    width = min(GAP_DTYPES, key=lambda width: width * int((gaps // _escape(width) + 1).sum()))
    escape = _escape(width)
    ends = np.cumsum(gaps // escape + 1) - 1
    coded = np.full(int(ends[-1]) + 1, escape, GAP_DTYPES[width])
    coded[ends] = gaps % escape
    return width, coded.tobytes()


def positions_of(width: int, coded: bytes) -> NDArray[np.int64]:
    """What `code_gaps` made `coded` of; of bytes that it never made, some increasing positions."""
    gaps = np.frombuffer(coded[: len(coded) // width * width], GAP_DTYPES[width])
    ends = np.flatnonzero(gaps != _escape(width))
    positions: NDArray[np.int64] = np.cumsum(gaps, dtype=np.int64)[ends] + np.arange(len(ends))
    return positions


def _escape(width: int) -> int:
    return (1 << 8 * width) - 1
