"""Who may play what: pending leases, the actors' credits, and leases that come back.

In memory and without I/O; what must survive is in the ledger. Consumes offers of groups and credits of
actors, produces assignments. An actor that leaves or falls silent loses its leases to others.
"""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from common.messages import Lease, Sampling
from common.trajectory import Member
from learner.ledger_records import OpenGroup


@dataclass
class _Peer:
    """One connected actor."""

    credits: int = 0
    has_begun: bool = False
    """It has said how many episodes it can play since it joined."""
    asked: int = 0
    """Credits that have arrived since it began."""
    joined_at: float = 0.0
    last_heard: float = 0.0
    leases: dict[tuple[int, int], Lease] = field(default_factory=dict)


class LeaseBook:
    """Grants each pending member to one actor at a time; a group stays with one while it has credit."""

    def __init__(self, run: str, clock: Callable[[], float], *, ledger: str = "") -> None:
        self._run = run
        self._ledger = ledger
        self._clock = clock
        self._peers: dict[str, _Peer] = {}
        self._pending: deque[Lease] = deque()

    @property
    def actors(self) -> tuple[str, ...]:
        """Actors that are connected and heard from."""
        return tuple(self._peers)

    @property
    def num_pending(self) -> int:
        """Leases that wait for an actor."""
        return len(self._pending)

    @property
    def num_credits(self) -> int:
        """Leases that the actors have asked for and not got."""
        return sum(peer.credits for peer in self._peers.values())

    @property
    def num_out(self) -> int:
        """Leases in play."""
        return sum(len(peer.leases) for peer in self._peers.values())

    def join(self, actor: str) -> list[Lease]:
        """An actor said hello. It has no credits; leases of a former life come back and are returned."""
        lost = self.leave(actor)
        self._peers[actor] = _Peer(joined_at=self._clock(), last_heard=self._clock())
        return lost

    def leave(self, actor: str) -> list[Lease]:
        """The actor is gone: its leases, returned as they were, are pending again."""
        peer = self._peers.pop(actor, None)
        lost = list(peer.leases.values()) if peer else []
        self._requeue(lost)
        return lost

    def heard(self, actor: str) -> bool:
        """Note a sign of life; False when the actor is unknown and must say hello."""
        peer = self._peers.get(actor)
        if peer is not None:
            peer.last_heard = self._clock()
        return peer is not None

    def silent(self, longer_than_s: float) -> list[str]:
        """Actors that have not been heard from for so long."""
        now = self._clock()
        return [name for name, peer in self._peers.items() if now - peer.last_heard > longer_than_s]

    def add_credits(self, actor: str, credits: int, *, is_first: bool = False) -> None:
        """The actor can play that many more episodes.

        The first since it joined tells all; what it said before that, not knowing of its joining, is void.
        """
        peer = self._peers[actor]
        if is_first:
            peer.credits, peer.asked, peer.has_begun = credits, credits, True
        elif peer.has_begun:
            peer.credits += credits
            peer.asked += credits

    def restate(self, actor: str, asked: int) -> None:
        """The actor has asked for so many leases since it began: what was lost or repeated is made good."""
        peer = self._peers.get(actor)
        if peer is not None and peer.has_begun:  # else it speaks of its former life
            peer.credits = max(0, peer.credits + asked - peer.asked)
            peer.asked = asked

    def unbegun(self, longer_than_s: float) -> list[str]:
        """Actors that joined so long ago and never began: their Welcome, or their answer to it, was lost."""
        now = self._clock()
        late = [name for name, peer in self._peers.items() if now - peer.joined_at > longer_than_s]
        return [name for name in late if not self._peers[name].has_begun]

    def offer(self, group: OpenGroup, sampling: Sampling, min_version: int, *, urgent: bool = False) -> None:
        """Make the unplayed members of a group available; `urgent` ones go before all others."""
        leases = [
            Lease(
                identity=Member(
                    run=self._run,
                    ledger=self._ledger,
                    group=group.id,
                    member=m,
                    attempt=group.attempts.get(m, -1) + 1,
                ),
                task=group.task,
                horizon=group.horizon,
                sampling=sampling,
                purpose=group.purpose,
                min_version=min_version,
                granted_at=0.0,
            )
            for m in range(group.size)
            if m not in group.played
        ]
        if urgent:
            self._pending.extendleft(reversed(leases))
        else:
            self._pending.extend(leases)

    def assign(self) -> list[tuple[str, Lease]]:
        """Hand pending leases out: group by group, each to the actor with most credit left."""
        assigned: list[tuple[str, Lease]] = []
        home: dict[int, str] = {}
        while self._pending:
            group = self._pending[0].identity.group
            actor = home.get(group, "")
            if not actor or not self._peers[actor].credits:
                actor = max(self._peers, key=lambda name: self._peers[name].credits, default="")
            if not actor or not self._peers[actor].credits:
                break
            home[group] = actor
            lease = self._pending.popleft().model_copy(update={"granted_at": self._clock()})
            peer = self._peers[actor]
            peer.credits -= 1
            peer.leases[group, lease.identity.member] = lease
            assigned.append((actor, lease))
        return assigned

    def reconcile(self, actor: str, held: Iterable[tuple[int, int]], grace_s: float) -> list[Lease]:
        """Take back, with their credits, leases granted over `grace_s` ago that the actor does not know of.

        A grant or a fault was lost on the way. Returned as they were; pending again.
        """
        peer, known, now = self._peers.get(actor), set(held), self._clock()
        if peer is None:
            return []  # given up while its heartbeat was being read
        lost = [
            lease
            for key, lease in peer.leases.items()
            if key not in known and now - lease.granted_at > grace_s
        ]
        for lease in lost:
            del peer.leases[lease.identity.group, lease.identity.member]
        peer.credits += len(lost)
        self._requeue(lost)
        return lost

    def settle(self, group: int, member: int) -> list[tuple[str, Lease]]:
        """The member's trajectory is stored: whoever else still plays it is returned, to be cancelled."""
        self._pending = deque(
            x for x in self._pending if (x.identity.group, x.identity.member) != (group, member)
        )
        others = []
        for name, peer in self._peers.items():
            lease = peer.leases.pop((group, member), None)
            if lease is not None:
                others.append((name, lease))
        return others

    def give_back(self, actor: str, identity: Member) -> Lease | None:
        """The actor could not play it: pending again under the next attempt. None when it did not hold it."""
        peer = self._peers.get(actor)
        held = peer.leases.get((identity.group, identity.member)) if peer else None
        if peer is None or held is None or held.identity != identity:
            return None
        del peer.leases[identity.group, identity.member]
        self._requeue([held])
        return held

    def withdraw(self, group: int) -> list[tuple[str, Lease]]:
        """Nobody needs this group any more: returns who still plays it, to be cancelled."""
        self._pending = deque(x for x in self._pending if x.identity.group != group)
        playing = []
        for name, peer in self._peers.items():
            for key in [key for key in peer.leases if key[0] == group]:
                playing.append((name, peer.leases.pop(key)))
        return playing

    def _requeue(self, leases: Iterable[Lease]) -> None:
        """Back to the front: these are the oldest, and their siblings wait for them."""
        for lease in leases:
            identity = lease.identity.model_copy(update={"attempt": lease.identity.attempt + 1})
            self._pending.appendleft(lease.model_copy(update={"identity": identity}))
