"""Whether an adapter did in an engine what it does in the learner.

An adapter that is loaded and never applied, or an older one that is served under a new name, raises no
error anywhere: only numbers tell. The learner says with each adapter how far it moves the logprobs of a
made-up context from those of the base model; the engine measures the same and must see the same move.
"""

import numpy as np

from common.messages import AdapterProbe

_NOISE = {"float32": 1e-3, "bfloat16": 0.1, "float16": 0.05}
"""Nats per token by which two implementations of one model in this precision may differ."""
_SHARE = 0.25
"""Of the move itself, on top."""


def difference(probe: AdapterProbe, base: list[float], adapted: list[float], dtypes: set[str]) -> str:
    """Why the engine's adapter is not the learner's; empty when it is.

    `base` and `adapted` are the engine's logprobs of the probe's candidates without and with the adapter,
    `dtypes` what learner and engine compute in. Compared are moves from the base model, in nats per token, so
    that what the two disagree about anyhow does not count.
    """
    moved = np.subtract(adapted, base)
    expected = np.subtract(probe.adapted, probe.base)
    error, size = float(np.abs(moved - expected).mean()), float(np.abs(expected).mean())
    allowed = max(_NOISE[dtype] for dtype in dtypes) + _SHARE * size
    if error <= allowed:  # False for NaN
        return ""
    return (
        f"the adapter moves the engine's logprobs by {float(np.abs(moved).mean()):.4f} nats per token, "
        f"the learner's by {size:.4f}, apart by {error:.4f} (allowed: {allowed:.4f})"
    )
