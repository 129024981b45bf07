"""Who is on the ledger channel: every frame the learner receives passes this door first."""

import logging
from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from common import codec
from common.errors import ProtocolError
from common.messages import FromActor, FromLearner, Goodbye, Hello, Refusal, Stop, Welcome
from common.version import PROTOCOL_VERSION

log = logging.getLogger(__name__)

HELLO_FIRST = "hello first"
"""The reason given to a peer that the learner does not know; `ActorBus` answers it with Hello."""

MAX_PEERS = 4096
"""Known at a time; past that the one that joined first is forgotten, and says Hello again if it lives."""


@dataclass
class Verdict:
    """What follows from one message: who said what, if it was accepted, and what is answered to whom."""

    accepted: tuple[str, FromActor] | None = None
    answers: list[tuple[bytes, FromLearner]] = field(default_factory=list)


class Membership:
    """Decides about each message by itself: no sockets, no waiting.

    An `identity` is one `ActorBus` object, chosen by it at random; a name is what people call the actor. Of
    two identities with one name the newer one is the actor, and the older is told to stop each time it
    speaks, so that two processes of one name cannot take turns in replacing each other.

    `host` is the name of the key that a message came with, empty without keys. Nobody speaks for an actor
    that joined with another key, and nobody takes its name while it is here.
    """

    def __init__(self, welcome: Welcome) -> None:
        self.refused = 0
        self._welcome = welcome
        self._names: OrderedDict[bytes, str] = OrderedDict()
        self._identities: dict[str, bytes] = {}
        self._hosts: dict[str, str] = {}
        self._replaced: deque[bytes] = deque(maxlen=MAX_PEERS)

    def identity(self, actor: str) -> bytes | None:
        """Where to send what is meant for `actor`; None when nobody of that name is here."""
        return self._identities.get(actor)

    def forget(self, actor: str) -> None:
        """Take `actor` for gone, if it is known."""
        identity = self._identities.pop(actor, None)
        if identity is not None:
            del self._names[identity]
            del self._hosts[actor]

    def judge(self, identity: bytes, frames: Sequence[codec.Buffer], host: str = "") -> Verdict:
        """Accept or refuse what `identity` sent; never raises."""
        try:
            name = self._names.get(identity)
            if name is not None and self._hosts[name] != host:
                raise ProtocolError("this identity belongs to another key")
            message: FromActor = codec.decode(frames, FromActor)
            if identity in self._replaced:
                return Verdict(answers=[(identity, Stop(reason="another actor of this name has joined"))])
            if isinstance(message, Hello):
                return self._admit(identity, message, host)
        except ProtocolError as error:
            self.refused += 1
            log.debug("refused a message peer=%r reason=%s", self._names.get(identity), error)
            return Verdict(answers=[(identity, Refusal(reason=str(error)))])
        if name is None:
            return Verdict(answers=[(identity, Refusal(reason=HELLO_FIRST))])
        if isinstance(message, Goodbye):
            self.forget(name)
        return Verdict(accepted=(name, message))

    def _admit(self, identity: bytes, hello: Hello, host: str) -> Verdict:
        if hello.protocol_version != PROTOCOL_VERSION:
            raise ProtocolError(
                f"protocol version {hello.protocol_version}; the learner speaks {PROTOCOL_VERSION}"
            )
        if hello.run not in ("", self._welcome.run):
            raise ProtocolError(f"this learner serves run {self._welcome.run!r}, not {hello.run!r}")
        if self._hosts.get(hello.actor, host) != host:
            raise ProtocolError(f"an actor of the name {hello.actor!r} is here with another key")
        verdict = Verdict(accepted=(hello.actor, hello), answers=[(identity, self._welcome)])
        older = self._identities.get(hello.actor)
        if older is not None and older != identity:
            self._replaced.append(older)
            verdict.answers.append((older, Stop(reason="another actor of this name has joined")))
        self.forget(hello.actor)
        if identity in self._names:
            self.forget(self._names[identity])
        if len(self._names) >= MAX_PEERS:
            self.forget(next(iter(self._names.values())))
        self._names[identity] = hello.actor
        self._identities[hello.actor] = identity
        self._hosts[hello.actor] = host
        return verdict
