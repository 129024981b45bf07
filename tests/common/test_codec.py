"""The wire: every message survives it, and whatever else arrives is a ProtocolError in one line."""

import tracemalloc
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from common import codec
from common.errors import ProtocolError
from common.messages import Chunk, FromActor, FromLearner, Hello, OnWeights, Ready, Submit
from common.trajectory import Member, Record, TaskReference, Trajectory, Turn, VersionSpan
from tests.common.records import make_trajectory

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@st.composite
def turns(draw: st.DrawFn) -> Turn:
    spans = draw(
        st.lists(st.builds(VersionSpan, version=st.integers(0, 99), num_tokens=st.integers(1, 9)), max_size=3)
    )
    num = sum(span.num_tokens for span in spans)
    ids = st.integers(0, 2**31 - 1)
    return Turn(
        prompt_tokens=draw(hnp.arrays(np.int32, st.integers(0, 9), elements=ids)),
        action_tokens=draw(hnp.arrays(np.int32, num, elements=ids)),
        behaviour_logprobs=draw(hnp.arrays(np.float32, num, elements=st.floats(-50, 0, width=32))),
        versions=tuple(spans),
        is_stopped=draw(st.booleans()),
        observation=draw(TEXT),
        action=draw(TEXT),
        reward=draw(st.floats(-1e300, 1e300)),
    )


trajectories = st.builds(
    Trajectory,
    identity=st.builds(Member, run=TEXT, group=st.integers(0, 2**31 - 1), member=st.integers(0, 99)),
    task=st.builds(TaskReference, environment=TEXT, task=TEXT, seed=st.integers(-(2**63), 2**63 - 1)),
    horizon=st.integers(1, 99),
    turns=st.lists(turns(), max_size=4).map(tuple),
    outcome=st.sampled_from(["terminated", "truncated_by_horizon", "faulted"]),
)


@given(trajectories)
def test_a_trajectory_survives_both_forms_bit_for_bit(trajectory: Trajectory) -> None:
    submit = codec.decode(codec.encode(Submit(trajectory=trajectory)), FromActor)
    blob = codec.pack(trajectory)
    for copy in (submit.trajectory, codec.unpack(blob, Trajectory)):
        assert codec.pack(copy) == blob
        for mine, theirs in zip(copy.turns, trajectory.turns, strict=True):
            assert mine.action_tokens.tobytes() == theirs.action_tokens.tobytes()
            assert mine.behaviour_logprobs.dtype == np.float32
            assert not mine.prompt_tokens.flags.writeable
            assert mine.prompt_tokens.flags.aligned


def test_a_large_array_is_a_frame_of_its_own_and_is_not_copied() -> None:
    trajectory = make_trajectory(num_turns=2, num_actions=20_000)
    frames = codec.encode(trajectory)
    assert [len(frame) for frame in frames[1:]] == [80_000] * 4
    assert np.shares_memory(np.frombuffer(frames[1], np.int32), trajectory.turns[0].action_tokens)
    received = [bytes(frame) for frame in frames]
    decoded = codec.decode(received, Trajectory)
    assert np.shares_memory(decoded.turns[0].action_tokens, np.frombuffer(received[1], np.int32))
    assert codec.pack(decoded) == codec.pack(trajectory)


def test_a_misaligned_frame_is_copied_rather_than_handed_on() -> None:
    trajectory = make_trajectory(num_turns=1, num_actions=20_000)
    frames = [memoryview(b"x" + bytes(frame))[1:] for frame in codec.encode(trajectory)]
    decoded = codec.decode(frames, Trajectory)
    assert decoded.turns[0].action_tokens.flags.aligned


@pytest.mark.parametrize("num_bytes", [0, 10, codec.FRAME_BYTES - 1, codec.FRAME_BYTES, 1 << 20])
def test_a_payload_of_any_size_survives(num_bytes: int) -> None:
    chunk = Chunk(version=1, offset=0, file_bytes=9, payload=bytes(num_bytes))
    frames = codec.encode(chunk)
    assert len(frames) == (2 if num_bytes >= codec.FRAME_BYTES else 1)
    assert codec.decode(frames, OnWeights) == chunk


def unsealed(message: Record) -> list[Any]:
    """The frames of a message without their checksum."""
    first, *others = codec.encode(message)
    return [bytes(first)[: -codec.SEAL_BYTES], *others]


def refusal(frames: list[Any], allowed: Any = FromActor) -> str:
    """Why these frames are refused although their checksum holds."""
    with pytest.raises(ProtocolError) as caught:
        codec.decode(codec.seal(frames) if frames else [], allowed)
    text = str(caught.value)
    assert len(text) < 400
    assert len(text.splitlines()) == 1
    return text


def envelope(fields: Any, kind: Any = "submit", version: Any = 1) -> bytes:
    packed: bytes = msgpack.packb([version, kind, fields])
    return packed


def test_a_message_of_another_kind_or_version_is_named() -> None:
    hello = unsealed(Hello(actor="a"))
    assert refusal(hello, FromLearner).startswith(
        "kind 'hello' is not allowed here; allowed: welcome, grant, ack"
    )
    assert refusal([envelope({}, "hello", 2)]) == "protocol version 2; this side speaks 1"
    assert "protocol version True" in refusal([envelope({}, "hello", True)])
    assert refusal([envelope({}, "x" * 1000)]).startswith("kind 'xxx")


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"credits": "7"}, "ready: credits: Input should be a valid integer"),
        ({"credits": 7.0}, "ready: credits: Input should be a valid integer"),
        ({"credits": -1}, "ready: credits: Input should be greater than or equal to 0"),
        ({}, "ready: credits: Field required"),
        ({"credits": 7, "x" * 500: 1}, "ready: " + "x" * 40 + ": Extra inputs are not permitted"),
        ([7], "ready: fields are a tuple, not a map"),
        (None, "ready: fields are a NoneType, not a map"),
    ],
)
def test_fields_are_checked_strictly_and_never_cast(fields: Any, reason: str) -> None:
    assert refusal([envelope(fields, "ready")]) == reason


def extension(code: int, data: bytes) -> Any:
    return msgpack.ExtType(code, data)


@pytest.mark.parametrize(
    ("tokens", "frames", "reason"),
    [
        (extension(2, bytes(16)), [], "expected int32, got float32"),
        (extension(1, bytes(15)), [], "15 bytes are no whole number of int32"),
        (extension(99, b""), [], "unknown extension 99"),
        (extension(17, msgpack.packb([1, 16])), [], "frame 1 is referenced, 1 frames arrived"),
        (extension(17, msgpack.packb([1, 16])), [bytes(12)], "frame 1 has 12 bytes, not 16"),
        (extension(17, msgpack.packb([2, 16])), [bytes(16)], "the next frame to reference is 1, not (2, 16)"),
        (
            extension(17, msgpack.packb([-1, 16])),
            [bytes(16)],
            "the next frame to reference is 1, not (-1, 16)",
        ),
        (extension(17, b"\xc1"), [bytes(16)], "not a message"),
        (extension(17, msgpack.packb("x" * 999)), [bytes(16)], "the next frame to reference is 1"),
        (extension(1, bytes(16)), [bytes(16)], "2 frames arrived, 1 are referenced"),
        (extension(1, bytes(12)), [], "3 action tokens but 4 behaviour logprobs"),
        ([1, 2, "a", 4], [], "action_tokens"),
        ({"a": 1}, [], "action_tokens"),
        (bytes(7), [], "action_tokens"),
        (None, [], "action_tokens"),
    ],
)
def test_a_wrong_array_is_refused_with_the_reason(tokens: Any, frames: list[bytes], reason: str) -> None:
    submit = msgpack.unpackb(unsealed(Submit(trajectory=make_trajectory(num_turns=1)))[0])
    submit[2]["trajectory"]["turns"][0]["action_tokens"] = tokens
    assert reason in refusal([msgpack.packb(submit), *frames])


def test_one_frame_cannot_stand_for_two_arrays() -> None:
    frames = unsealed(Submit(trajectory=make_trajectory(num_turns=2, num_actions=20_000)))
    assert "frames arrived" in refusal(frames[:-1])
    assert "frames arrived" in refusal([*frames, b"junk"])
    twice = bytes(frames[0]).replace(msgpack.packb([2, 80_000]), msgpack.packb([1, 80_000]))
    assert "the next frame to reference is 2, not (1, 80000)" in refusal([twice, *frames[1:]])


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"\x91" * 100_000,
        b"\xdd\xff\xff\xff\xff",
        b"\xdd\x00\x00\xff\xff" * 2000,
        b"\xdf\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\xc9\xff\xff\xff\xff\x01",
        b"\x81\x01\x02",
        b"\x81\x90\x02",
        b"\xd9\x02\xff\xff",
        b"\xc1",
        b"\x01",
        msgpack.packb([1, "ready"]),
        msgpack.packb([1, "ready", {"credits": 1}]) + b"\x00",
        msgpack.packb([1, "ready", {"credits": msgpack.Timestamp(1, 1)}]),
        msgpack.packb([1, "ready", {str(i): i for i in range(1000)}]),
    ],
)
def test_a_hostile_frame_is_refused_at_little_cost(frame: bytes) -> None:
    tracemalloc.start()
    try:
        refusal([frame])
        assert tracemalloc.get_traced_memory()[1] < 200 << 20
    finally:
        tracemalloc.stop()


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_a_message_of_which_one_bit_was_turned_on_the_way_is_always_refused(data: st.DataObject) -> None:
    large = data.draw(st.booleans())
    trajectory = make_trajectory(num_turns=2, num_actions=20_000 if large else 4)
    frames = [bytearray(frame) for frame in codec.encode(Submit(trajectory=trajectory))]
    frame = data.draw(st.sampled_from(frames))
    frame[data.draw(st.integers(0, len(frame) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(ProtocolError, match="torn"):
        codec.decode([bytes(frame) for frame in frames], FromActor)


def test_no_frames_are_no_message() -> None:
    assert refusal([]) == "a message without frames"


def survives(frames: list[bytes], allowed: Any) -> None:
    """Decode, or refuse as promised; anything else fails the test."""
    try:
        codec.decode(frames, allowed)
    except ProtocolError as error:
        assert len(str(error).splitlines()) == 1  # noqa: PT017


@settings(max_examples=300)
@given(st.lists(st.binary(max_size=60), max_size=3))
def test_random_bytes_raise_nothing_but_protocol_errors(frames: list[bytes]) -> None:
    survives(frames, FromActor)


JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | TEXT
    | st.binary(max_size=12)
    | st.builds(extension, st.integers(0, 30), st.binary(max_size=12)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=400, deadline=None)
@given(junk=JUNK, path=st.lists(st.integers(0, 30), min_size=1, max_size=6), large=st.booleans())
@example(junk={}, path=[0], large=True)
def test_junk_anywhere_in_a_valid_message_raises_nothing_but_protocol_errors(
    junk: Any, path: list[int], large: bool
) -> None:
    trajectory = make_trajectory(num_turns=2, num_actions=20_000 if large else 4)
    first, *frames = unsealed(Submit(trajectory=trajectory))
    message = msgpack.unpackb(first, strict_map_key=False)
    place = message
    for step in path[:-1]:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        inner = place[keys[step % len(keys)]] if keys else None
        if not isinstance(inner, dict | list) or not inner:
            break
        place = inner
    keys = list(place) if isinstance(place, dict) else list(range(len(place)))
    place[keys[path[-1] % len(keys)]] = junk
    survives(codec.seal([msgpack.packb(message), *map(bytes, frames)]), FromActor)


@settings(max_examples=300, deadline=None)
@given(
    flips=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=8),
    cut=st.integers(0, 400),
)
def test_damaged_messages_raise_nothing_but_protocol_errors(flips: list[tuple[int, int]], cut: int) -> None:
    frame = bytearray(unsealed(Submit(trajectory=make_trajectory(num_turns=1)))[0])
    for place, value in flips:
        frame[place % len(frame)] = value
    damaged = [bytes(frame[: len(frame) - cut])]
    survives(damaged, FromActor)
    survives(codec.seal(damaged), FromActor)


def test_a_blob_of_another_kind_or_torn_is_refused() -> None:
    blob = codec.pack(make_trajectory())
    with pytest.raises(ProtocolError, match="kind 'trajectory' is not allowed here; allowed: ready"):
        codec.unpack(blob, Ready)
    with pytest.raises(ProtocolError, match="not a message"):
        codec.unpack(blob[:-1], Trajectory)


class Odd(Record):
    thing: object


def test_what_cannot_travel_is_the_senders_mistake() -> None:
    with pytest.raises(TypeError, match="object cannot travel on the wire"):
        codec.encode(Odd(thing=object()))


BOMBS = {
    "a list of 65,000 empty turns": (
        "trajectory.identity: Field required",
        {"trajectory": {"turns": [{}] * 65_000}},
    ),
    "a million empty maps": ("more than 131072 maps, lists and arrays", [[{}] * 60_000] * 20),
    "a million empty arrays": (
        "more than 131072 maps, lists and arrays",
        [[msgpack.ExtType(1, b"")] * 60_000] * 20,
    ),
}


@pytest.mark.parametrize(("reason", "fields"), BOMBS.values(), ids=BOMBS)
def test_a_message_takes_little_more_memory_than_its_bytes_allow(reason: str, fields: Any) -> None:
    frame = envelope(fields)
    tracemalloc.start()
    try:
        assert reason in refusal([frame])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 40 << 20


def test_a_field_that_is_named_twice_is_refused() -> None:
    twice = b"\x93\x01" + msgpack.packb("ready") + b"\x82" + 2 * (msgpack.packb("credits") + b"\x07")
    assert refusal([twice]) == "not a message: a map names a field twice"
