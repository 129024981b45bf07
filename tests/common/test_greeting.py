"""However many messages are refused, one Hello is on the way."""

from common.bus.greeting import Greeting
from common.bus.membership import HELLO_FIRST
from common.messages import Refusal, Stop, Welcome

REFUSAL = Refusal(reason=HELLO_FIRST)


def test_many_refusals_ask_for_one_hello() -> None:
    greeting = Greeting(patience_s=60)
    assert all(greeting.is_asked_for(REFUSAL) for _ in range(3))
    assert [greeting.is_due() for _ in range(3)] == [True, False, False]


def test_after_a_welcome_the_next_refusal_is_answered_again() -> None:
    greeting = Greeting(patience_s=60)
    assert greeting.is_due()
    assert not greeting.is_asked_for(Welcome(run="r", heartbeat_s=1))
    assert greeting.is_due()


def test_a_hello_that_was_lost_is_said_again() -> None:
    greeting = Greeting(patience_s=0)
    assert greeting.is_due()
    assert greeting.is_due()


def test_other_messages_and_refusals_are_none_of_its_business() -> None:
    greeting = Greeting(patience_s=60)
    assert not greeting.is_asked_for(Stop(reason="done"))
    assert not greeting.is_asked_for(Refusal(reason="too large"))
