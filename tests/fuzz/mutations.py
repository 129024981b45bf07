"""Messages as they are and as they should never be."""

from collections.abc import Sequence

from hypothesis import strategies as st

from common import codec
from common.trajectory import Record


def frames_like(messages: Sequence[Record]) -> st.SearchStrategy[list[bytes]]:
    """Frames of these messages, most of them damaged, and frames that never were of any."""
    valid = [[bytes(part) for part in codec.encode(message)] for message in messages]
    return _mutated(valid) | st.lists(st.binary(max_size=300), min_size=1, max_size=8)


@st.composite
def _mutated(draw: st.DrawFn, valid: list[list[bytes]]) -> list[bytes]:
    """A valid message with bytes changed, cut or added, and frames dropped, doubled or swapped."""
    frames = list(draw(st.sampled_from(valid)))
    for _ in range(draw(st.integers(0, 4))):
        place = draw(st.integers(0, len(frames) - 1)) if frames else 0
        change = draw(st.sampled_from(["byte", "cut", "add", "drop", "double"]))
        content = frames[place] if frames else b""
        at = draw(st.integers(0, max(0, len(content) - 1)))
        if not frames or change == "add":
            frames.insert(place, draw(st.binary(max_size=40)))
        elif change == "byte":
            frames[place] = content[:at] + draw(st.binary(min_size=1, max_size=3)) + content[at + 1 :]
        elif change == "cut":
            frames[place] = content[:at]
        elif change == "drop":
            del frames[place]
        else:
            frames.insert(place, content)
    # Without a fresh checksum nothing behind it would ever be reached.
    is_sealed: bool = draw(st.sampled_from([True, False]))
    return [bytes(part) for part in codec.seal(frames)] if frames and is_sealed else frames or [b""]
