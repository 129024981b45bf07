"""What the native engine shows of a state, in ALFWorld's sentences.

Notice: the sentences are those of the file alfred.twl2 of `alfworld` 0.4.2, MIT License, Copyright (c) 2020
Mohit Shridhar and others.
"""

from envhub.envs.alfworld.state import State

_LOOKS = (
    (("isclean", "ishot", "issliced"), "This is a hot and clean sliced {}."),
    (("isclean", "iscool", "issliced"), "This is a cool and clean sliced {}."),
    (("isclean", "issliced"), "This is a clean sliced {}."),
    (("ishot", "issliced"), "This is a hot sliced {}."),
    (("iscool", "issliced"), "This is a cool sliced {}."),
    (("isclean", "ishot"), "This is a hot and clean {}."),
    (("isclean", "iscool"), "This is a cool and clean {}."),
    (("ishot",), "This is a hot {}."),
    (("isclean",), "This is a clean {}."),
    (("iscool",), "This is a cold {}."),
    (("toggleable", "istoggled"), "This {} is on."),
    (("sliceable", "issliced"), "This is a sliced {}."),
    ((), "There's nothing special about {}."),
)
"""The first whose flags all hold is said."""
_ROOM = "You are in the middle of a room. Looking quickly around you, you see {}."
_FACING = "You are facing the {}. Next to it, you see {}."
_CLOSED = "The {} is closed."
_OPEN = "The {} is open. In it, you see {}."
_ON = "On the {}, you see {}."
_HOLDER = "This is a normal {}. In it, you see {}."
_EMPTY_HANDS = "You are not carrying anything."
_CARRYING = "You are carrying: {}."
SWITCHED_ON = "You turn on the {}."
_NONE = "nothing"
_LAST = ", and "
TEXTS = (
    *(text for _, text in _LOOKS),
    *(_ROOM, _FACING, _CLOSED, _OPEN, _ON, _HOLDER, _EMPTY_HANDS, _CARRYING, SWITCHED_ON, _NONE, _LAST),
    "a",
)
"""Every form of words here."""


def opening(state: State) -> str:
    """All receptacles, from the middle of the room."""
    return _room([state.world.names[place] for place in state.world.receptacles])


def surroundings(state: State) -> str:
    """What `look` answers; in the middle of the room that is less than the opening."""
    names, here = state.world.names, state.here()
    if not here:
        return _room([])
    beside = [
        f"a {names[thing]}"
        for thing in sorted(state.nearby[state.location])
        for place in here
        if thing in state.left[place]
    ]
    return _FACING.format(listed([names[place] for place in here]), listed(beside))


def receptacle(state: State, place: str) -> str:
    """A receptacle and what is in it, as far as it can be seen."""
    name = state.world.names[place]
    if not state.is_open(place):
        return _CLOSED.format(name)
    inside = listed([f"a {state.world.names[thing]}" for thing in state.contents(place)])
    if state.world.has("openable", place):
        return _OPEN.format(name, inside)
    return _ON.format(name, inside)


def thing(state: State, identifier: str) -> str:
    """A thing, looked at closely."""
    world = state.world
    name = world.names[identifier]
    if world.has("isreceptacleobject", identifier):
        pairs = sorted(world.facts.get("inreceptacleobject", ()))
        inner = [f"a {world.names[one]}" for one, outer in pairs if outer == identifier]
        return _HOLDER.format(name, listed(inner))
    said = next(text for flags, text in _LOOKS if all(state.has(flag, identifier) for flag in flags))
    return said.format(name)


def inventory(state: State) -> str:
    """What is held."""
    if not state.held:
        return _EMPTY_HANDS
    held = [f"a {state.world.names[identifier]}" for identifier in sorted(state.held)]
    return _CARRYING.format(listed(held))


def listed(parts: list[str]) -> str:
    """`a, b, and c`."""
    if len(parts) < 2:
        return parts[0] if parts else _NONE
    return f"{', '.join(parts[:-1])}{_LAST}{parts[-1]}"


def _room(names: list[str]) -> str:
    return _ROOM.format(listed([f"a {name}" for name in names]))
