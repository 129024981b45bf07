"""What the learner and its actors ask of the bus; the memory bus and the TCP bus keep the same promises.

The bus carries validated messages. Leases, credits, acknowledgement and resubmission belong to those who
send them: any message may be lost when a peer dies, none arrives damaged.
"""

from pathlib import Path
from typing import Protocol

from common.bus.config import BusConfig
from common.messages import FromActor, FromLearner, PolicyAnnouncement, WeightManifest, Welcome


class LearnerBus(Protocol):
    """The learner's end: one inbox for all actors, one outbox per actor, one announcement for everyone.

        await bus.start()
        try:
            while True:
                actor, message = await bus.receive()
                for reply in decide(actor, message):
                    await bus.send(actor, reply)       # False: gone, its leases will expire
        finally:
            await bus.close()

    Actors are welcomed while `receive` is awaited. A malformed frame is answered with a Refusal, counted in
    `refused`, and harms nobody else. Messages from a peer that has not said Hello are answered with a
    Refusal and dropped; `ActorBus` then says Hello again. `start` and `close` belong to one task.
    """

    @property
    def refused(self) -> int:
        """How many messages were refused because they were malformed or not allowed."""
        ...

    @property
    def config(self) -> BusConfig:
        """The configuration with the ports that are really bound: what an actor needs to connect."""
        ...

    async def start(self) -> None:
        """Listen; PreflightError naming the port when it is taken."""
        ...

    async def receive(self) -> tuple[str, FromActor]:
        """The next message and the name of its actor.

        Hello is reported each time an actor joins or comes back: it holds no credits then. Goodbye is
        reported when it leaves in good order; an actor that dies is only silent. Of two actors of one name
        the newer one stays: the older is told to Stop and no longer heard. Cancelling this call may lose
        a message, as the death of its sender may.
        """
        ...

    async def send(self, actor: str, message: FromLearner) -> bool:
        """Queue `message` for `actor` without waiting.

        False, and nothing was queued, when the actor is unknown or gone, or its queue is full because it
        does not read.
        """
        ...

    def forget(self, actor: str) -> None:
        """Take `actor` for gone: all that it says is refused until it says Hello and is welcomed anew."""
        ...

    async def announce(self, announcement: PolicyAnnouncement) -> None:
        """Tell every actor the newest policy; who joins later hears it at once.

        ProtocolError when it exceeds `max_message_bytes`.
        """
        ...

    async def close(self) -> None:
        """Free the ports; what was sent is given a second to leave."""
        ...


class ActorBus(Protocol):
    """An actor's end.

        welcome = await bus.start()
        async with background(heartbeat(), follow_policy()):     # next_policy, locate, engine.load_weights
            await bus.send(Ready(credits=64))
            while not isinstance(message := await bus.receive(), Stop):
                ...                                     # Grant: play; Ack: forget; Cancel: stop playing
        await bus.close()

    `start` and `close` belong to one task.
    """

    @property
    def refused(self) -> int:
        """How many messages from the learner were malformed and dropped."""
        ...

    async def start(self) -> Welcome:
        """Say Hello and wait to be welcomed.

        PreflightError when no learner answers within `connect_s`; ProtocolError with the learner's reason
        when it refuses: another protocol version, another run.
        """
        ...

    async def send(self, message: FromActor) -> None:
        """Queue `message`; waits while the learner is away or does not read.

        ProtocolError when it exceeds `max_message_bytes`.
        """
        ...

    async def receive(self) -> FromLearner:
        """The next message from the learner.

        A Welcome here means that the learner did not know this actor (it was restarted) and has admitted it
        anew: its credits are void, so send Ready again; what was unacknowledged is to be sent again.
        """
        ...

    async def next_policy(self) -> PolicyAnnouncement:
        """The newest announcement not returned yet; waits for one. Those it replaced are never returned."""
        ...

    async def fetch_weights(self, manifest: WeightManifest, into: Path) -> Path:
        """Write the learner's file of `manifest.version` to `into`, unverified; `locate` verifies.

        WeightError when the learner no longer holds the version, or falls silent for `connect_s`; what is in
        `into` then is the caller's to remove.
        """
        ...

    async def close(self) -> None:
        """Say Goodbye, unless that was said or cannot be said at once, and free everything."""
        ...
