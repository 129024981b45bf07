"""What the parts of the system cost: seconds and bytes, each with where the figure is from."""

from dataclasses import dataclass
from typing import Literal

Origin = Literal["measured", "configured", "given", "assumed"]
"""From the run; from its configuration; as an option; from nobody."""


@dataclass(frozen=True)
class Note:
    """One figure that a simulation rests on."""

    name: str
    value: float
    origin: Origin
    meaning: str


@dataclass(frozen=True)
class Costs:
    """Speed of engine, learner and ways between them; tuples are samples to draw from."""

    decode_s: float = 0.0
    """One token of every running request, whatever their number."""
    decode_per_request_s: float = 0.0
    read_s: float = 0.0
    """One token of a prompt; the other requests wait."""
    request_s: float = 0.0
    """Taking one request in; the other requests wait."""
    reads_again: bool = False
    """Every turn reads the whole context anew, not only what is new."""
    training_s: float = 0.0
    training_per_token_s: float = 0.0
    training_noise: tuple[float, ...] = (1.0,)
    """What steps took over what the two figures before say."""
    publish_s: tuple[float, ...] = (0.0,)
    after_s: tuple[float, ...] = (0.0,)
    load_s: float = 0.0
    pause_s: float = 0.0
    delivery_s: float = 0.0
    grant_s: float = 0.0
    fault_share: float = 0.0
    weight_bytes: float = 0.0
    num_ranks: int = 1
    """On all hosts, with which `training_per_token_s` was measured."""


def speed_up(num_ranks: int, serial_share: float) -> float:
    """Of `num_ranks` over one: M / (1 + s (M - 1)), Amdahl's law with the serial share s."""
    return num_ranks / (1 + serial_share * (num_ranks - 1))
