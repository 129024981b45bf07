"""How an actor's bus answers a learner that does not know it (any more): with one Hello at a time."""

import math
import time

from common.bus.membership import HELLO_FIRST
from common.messages import FromLearner, Refusal, Welcome


class Greeting:
    """Whether a Hello is due. Each brings a Welcome, and each Welcome all credits: two would be too many."""

    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s
        self._said_at = -math.inf

    def is_asked_for(self, message: FromLearner) -> bool:
        """Whether the learner refused something because it wants a Hello first; notes a Welcome."""
        if isinstance(message, Welcome):
            self._said_at = -math.inf
        return isinstance(message, Refusal) and message.reason == HELLO_FIRST

    def is_due(self) -> bool:
        """True when a Hello must be said now, and no more for `patience_s` or until the next Welcome."""
        now = time.monotonic()
        is_due = now - self._said_at > self._patience_s
        if is_due:
            self._said_at = now
        return is_due
