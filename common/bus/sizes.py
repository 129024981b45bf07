"""The limit on one message, kept by the sender, who can say what was too large."""

from common.codec import Buffer
from common.errors import ProtocolError
from common.trajectory import Record


def check_size(frames: list[Buffer], message: Record, max_message_bytes: int) -> list[Buffer]:
    """`frames` unchanged; ProtocolError when together they exceed `max_message_bytes`."""
    num_bytes = sum(len(frame) for frame in frames)
    if num_bytes > max_message_bytes:
        raise ProtocolError(
            f"a {type(message).__name__} of {num_bytes} bytes exceeds "
            f"bus.max_message_bytes = {max_message_bytes}"
        )
    return frames
