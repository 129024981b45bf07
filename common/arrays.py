"""NumPy arrays as validated fields of messages: immutable, one dtype each, compared by content."""

from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator


def _vector(dtype: type[np.generic]) -> Any:
    """A validator for 1-D arrays of `dtype`; refuses other ranks and never casts floats to ints."""

    def validate(value: Any) -> NDArray[Any]:
        array = np.asarray(
            value if not isinstance(value, (bytes, memoryview)) else np.frombuffer(value, dtype)
        )
        if array.size == 0:
            array = array.astype(dtype)
        if array.ndim != 1:
            raise ValueError(f"expected a vector, got shape {array.shape}")
        if not np.can_cast(array.dtype, dtype, casting="same_kind"):
            raise ValueError(f"expected {np.dtype(dtype).name}, got {array.dtype.name}")
        array = np.ascontiguousarray(array, dtype=dtype)
        view = array.view()
        view.flags.writeable = False
        return view

    return BeforeValidator(validate)


Int32 = Annotated[NDArray[np.int32], _vector(np.int32)]
"""A read-only vector of int32: token ids."""

Float32 = Annotated[NDArray[np.float32], _vector(np.float32)]
"""A read-only vector of float32: logprobs in nats."""
