"""Small weights for tests."""

import numpy as np
import torch

from common.weights.writing import NamedArray


def arrays(seed: int = 0) -> list[NamedArray]:
    """Three tensors: float32, an odd number of bfloat16, an empty one."""
    random = np.random.default_rng(seed)
    embedding = random.standard_normal((7, 3)).astype(np.float32)
    norm = torch.from_numpy(random.standard_normal(5).astype(np.float32)).bfloat16()
    return [
        ("model.embed.weight", "float32", embedding, (7, 3)),
        ("model.norm.weight", "bfloat16", norm.view(torch.uint8).numpy(), (5,)),
        ("model.empty", "bfloat16", b"", (0, 4)),
    ]


def raw(array: NamedArray) -> bytes:
    """The values of an array as bytes."""
    values = array[2]
    return values.tobytes() if isinstance(values, np.ndarray) else bytes(values)
