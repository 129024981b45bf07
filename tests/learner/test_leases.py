"""Leases and credits are exact, whatever is lost on the way."""

import pytest

from common.messages import Sampling
from common.trajectory import TaskReference
from learner.leases import LeaseBook
from learner.ledger_records import OpenGroup
from tests.learner.clock import ManualClock

TASK = TaskReference(environment="guess_number", task="number-001")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def book(clock: ManualClock) -> LeaseBook:
    made = LeaseBook("test", clock)
    made.join("a")
    made.add_credits("a", 3, is_first=True)
    made.offer(group(0), Sampling(), 0)
    made.assign()
    return made


def group(number: int) -> OpenGroup:
    return OpenGroup(
        id=number,
        purpose="training",
        label="",
        task=TASK,
        horizon=3,
        size=2,
        granted_version=0,
        played=frozenset(),
        attempts={},
    )


def test_a_grant_that_never_arrived_is_given_again_with_its_credit(
    book: LeaseBook, clock: ManualClock
) -> None:
    clock.now = 11.0
    lost = book.reconcile("a", [(0, 0)], grace_s=10)
    assert [(x.identity.member, x.identity.attempt) for x in lost] == [(1, 0)]
    assert (book.num_credits, book.num_pending, book.num_out) == (2, 1, 1)
    ((_, again),) = book.assign()
    assert (again.identity.member, again.identity.attempt) == (1, 1)


def test_a_grant_on_the_way_is_left_alone(book: LeaseBook, clock: ManualClock) -> None:
    clock.now = 9.0
    assert book.reconcile("a", [], grace_s=10) == []
    assert book.num_out == 2


def test_what_an_actor_holds_without_a_lease_is_none_of_the_books_business(book: LeaseBook) -> None:
    assert book.reconcile("a", [(0, 0), (0, 1), (7, 7)], grace_s=0) == []


def test_credits_asked_for_before_the_actor_knew_that_it_had_joined_are_void(book: LeaseBook) -> None:
    book.join("a")
    book.add_credits("a", 2)
    assert book.num_credits == 0
    book.add_credits("a", 4, is_first=True)
    book.add_credits("a", 1)
    assert book.num_credits == 5


def test_credits_that_were_lost_on_the_way_come_back_with_a_heartbeat(book: LeaseBook) -> None:
    book.add_credits("a", 2)
    book.restate("a", 9)  # 3 at first, 2 more, and 4 that never arrived
    assert book.num_credits == 1 + 2 + 4
    book.restate("a", 9)
    assert book.num_credits == 7


def test_credits_that_arrived_twice_are_taken_back(book: LeaseBook) -> None:
    for _ in range(2):
        book.add_credits("a", 2)
    book.restate("a", 5)
    assert book.num_credits == 3


def test_no_more_credits_are_taken_back_than_there_are(book: LeaseBook) -> None:
    book.restate("a", 0)
    assert book.num_credits == 0


def test_an_actor_that_has_not_begun_speaks_of_its_former_life_and_is_named_when_it_should_have(
    book: LeaseBook, clock: ManualClock
) -> None:
    assert book.join("a")
    book.restate("a", 8)
    assert book.num_credits == 0
    assert book.unbegun(10) == []
    clock.now = 11.0
    assert book.unbegun(10) == ["a"]
    book.add_credits("a", 0, is_first=True)
    assert book.unbegun(10) == []
