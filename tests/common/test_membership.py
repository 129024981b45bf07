"""The door of the ledger channel: who is heard, who is refused, who is told to stop."""

import numpy as np
import pytest

from common import codec
from common.bus import membership
from common.bus.membership import HELLO_FIRST, Membership
from common.messages import Ack, FromActor, FromLearner, Goodbye, Hello, Ready, Refusal, Stop, Submit, Welcome
from common.trajectory import Member
from tests.common.records import make_trajectory, make_turn

WELCOME = Welcome(run="r", heartbeat_s=2.0)
READY = Ready(credits=1)


@pytest.fixture
def door() -> Membership:
    return Membership(WELCOME)


def say(door: Membership, identity: bytes, message: FromActor) -> list[tuple[bytes, FromLearner]]:
    return door.judge(identity, codec.encode(message)).answers


def is_heard(door: Membership, identity: bytes) -> bool:
    return door.judge(identity, codec.encode(READY)).accepted is not None


def test_nobody_is_heard_before_hello(door: Membership) -> None:
    assert say(door, b"1", READY) == [(b"1", Refusal(reason=HELLO_FIRST))]
    assert say(door, b"1", Hello(actor="a")) == [(b"1", WELCOME)]
    assert is_heard(door, b"1")
    assert door.refused == 0


def test_nobody_is_heard_after_goodbye(door: Membership) -> None:
    say(door, b"1", Hello(actor="a"))
    assert door.judge(b"1", codec.encode(Goodbye())).accepted == ("a", Goodbye())
    assert door.identity("a") is None
    assert not is_heard(door, b"1")


def test_hello_twice_is_welcome_twice(door: Membership) -> None:
    for _ in range(2):
        verdict = door.judge(b"1", codec.encode(Hello(actor="a")))
        assert verdict.accepted == ("a", Hello(actor="a"))
        assert verdict.answers == [(b"1", WELCOME)]


def test_one_bus_that_changes_its_name_leaves_the_old_one(door: Membership) -> None:
    say(door, b"1", Hello(actor="a"))
    say(door, b"1", Hello(actor="b"))
    assert (door.identity("a"), door.identity("b")) == (None, b"1")


def test_the_older_of_one_name_is_stopped_every_time_it_speaks(door: Membership) -> None:
    say(door, b"1", Hello(actor="a"))
    stop = (b"1", Stop(reason="another actor of this name has joined"))
    assert say(door, b"2", Hello(actor="a")) == [(b"2", WELCOME), stop]
    assert say(door, b"1", READY) == [stop]
    assert say(door, b"1", Hello(actor="a")) == [stop]
    assert door.identity("a") == b"2"
    assert is_heard(door, b"2")


def test_another_protocol_version_is_refused_and_counted(door: Membership) -> None:
    answers = say(door, b"1", Hello(actor="a", protocol_version=99))
    assert answers == [(b"1", Refusal(reason="protocol version 99; the learner speaks 1"))]
    assert door.refused == 1
    assert door.identity("a") is None


def test_a_message_that_only_the_learner_may_send_is_refused(door: Membership) -> None:
    say(door, b"1", Hello(actor="a"))
    verdict = door.judge(b"1", codec.encode(Ack(identity=Member(run="r", group=0, member=0))))
    assert verdict.accepted is None
    assert door.refused == 1
    assert is_heard(door, b"1")


HOSTILE = {
    "score": {"score": float("nan")},
    "reward": {"turns": (make_turn().model_copy(update={"reward": float("inf")}),)},
    "logprob": {
        "turns": (make_turn().model_copy(update={"behaviour_logprobs": np.full(4, np.nan, np.float32)}),)
    },
    "group": {"identity": Member(run="r", group=0, member=0).model_copy(update={"group": 2**63})},
}


@pytest.mark.parametrize("changes", HOSTILE.values(), ids=HOSTILE)
def test_a_trajectory_with_impossible_numbers_is_refused_and_counted(
    door: Membership, changes: dict[str, object]
) -> None:
    say(door, b"1", Hello(actor="a"))
    hostile = Submit.model_construct(trajectory=make_trajectory().model_copy(update=changes))
    verdict = door.judge(b"1", codec.encode(hostile))
    assert verdict.accepted is None
    assert [type(answer) for _, answer in verdict.answers] == [Refusal]
    assert door.refused == 1
    assert is_heard(door, b"1")


def test_the_number_of_known_peers_is_bounded(door: Membership) -> None:
    for number in range(membership.MAX_PEERS + 1):
        say(door, str(number).encode(), Hello(actor=f"a{number}"))
    assert door.identity("a0") is None
    assert door.identity("a1") == b"1"
    assert say(door, b"0", READY) == [(b"0", Refusal(reason=HELLO_FIRST))]
