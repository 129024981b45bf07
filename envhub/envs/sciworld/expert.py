"""The expert: the simulator's own path to a score of 100, and the way back to it after a detour.

The path is made for the beginning of a task. While an episode has followed it, it leads to 100. After other
actions the expert walks back to the room where the path goes on, and goes on with it: that mends detours,
looking, waiting and doors, and not what was eaten, mixed, burnt or carried off. After the end of the path,
without success, it begins again. In a few variations the simulator's own path falls short (`freeze-var11`).
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Final

from envhub.environment import ExpertMove
from envhub.envs.sciworld.jvm import shared_jvm
from envhub.envs.sciworld.rooms import next_room, room_of
from envhub.envs.sciworld.texts import AMBIGUOUS, NO_MATCH, canonical
from envhub.envs.sciworld.world import World

_THOUGHTS: Final = {
    "activate": "It must be on.",
    "close": "It must be closed.",
    "connect": "The circuit needs this connection.",
    "deactivate": "It must be off.",
    "focus": "This is what the task asks for.",
    "go": "What I need next is there.",
    "look": "I see what is there.",
    "mix": "What is inside must become one.",
    "move": "It belongs there.",
    "open": "It must be open.",
    "pick": "I need this.",
    "pour": "It belongs there.",
    "put": "I do not need it any more.",
    "read": "It may say what to do.",
    "use": "I measure or work with this.",
    "wait": "It takes time.",
    "wait1": "It takes a moment.",
}
OTHER_THOUGHT: Final = "This is the next thing to do."
BACK: Final = "I go back to where I was needed."
CANCEL: Final = "I meant none of these."
THOUGHTS: Final = (*_THOUGHTS.values(), OTHER_THOUGHT, BACK, CANCEL)


@lru_cache(maxsize=512)
def gold_path(task: str, variation: int) -> tuple[str, ...]:
    """The simulator's path for a task; takes seconds the first time, and up to half a minute for genetics."""
    world = World(shared_jvm(), task, variation, has_gold=True)
    try:
        return tuple(canonical(action) for action in world.gold())
    finally:
        world.release()


class Guide:
    """Where an episode stands on the path; told every turn that was taken."""

    def __init__(self, path: tuple[str, ...], first_room: str) -> None:
        self._path = path
        self._first_room = first_room
        self._next = 0
        self._is_astray = False

    def took(self, action: str, reply: str) -> None:
        """One turn, as the policy wrote it, and what it brought."""
        if canonical(action).lower() == self._path[self._next].lower() and not self._is_astray:
            # The path has actions of its own that the simulator does not take.
            self._next = (self._next + 1) % len(self._path)
            self._is_astray = action.startswith("go ") and not reply.startswith("You move to")
        elif reply != NO_MATCH:
            self._is_astray = True

    def move(self, look: Callable[[], str], reply: str) -> ExpertMove:
        """What to do now, where `look` tells what is seen and `reply` was the last answer."""
        if self._is_astray:
            if reply.startswith(AMBIGUOUS):
                return ExpertMove(action="look around", thought=CANCEL)
            if step := _step(look(), self._room):
                return ExpertMove(action=step, thought=BACK)
            self._is_astray = False
        action = self._path[self._next]
        return ExpertMove(action=action, thought=_THOUGHTS.get(action.split()[0], OTHER_THOUGHT))

    @property
    def _room(self) -> str:
        """Where the path goes on."""
        walked = [action for action in self._path[: self._next] if action.startswith("go to ")]
        return walked[-1].removeprefix("go to ") if walked else self._first_room


def _step(look: str, there: str) -> str:
    """Open the next door of the way, or go through it; empty when there."""
    room = next_room(room_of(look), there)
    if not room:
        return ""
    is_closed = f"A door to the {room} (that is closed)" in look
    return f"open door to {room}" if is_closed else f"go to {room}"
