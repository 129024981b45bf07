"""What the native engine shows of a state, in ALFWorld's sentences."""

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
    return f"You are facing the {listed([names[place] for place in here])}. Next to it, you see {listed(beside)}."


def receptacle(state: State, place: str) -> str:
    """A receptacle and what is in it, as far as it can be seen."""
    name = state.world.names[place]
    if not state.is_open(place):
        return f"The {name} is closed."
    inside = listed([f"a {state.world.names[thing]}" for thing in state.contents(place)])
    if state.world.has("openable", place):
        return f"The {name} is open. In it, you see {inside}."
    return f"On the {name}, you see {inside}."


def thing(state: State, identifier: str) -> str:
    """A thing, looked at closely."""
    world = state.world
    name = world.names[identifier]
    if world.has("isreceptacleobject", identifier):
        pairs = sorted(world.facts.get("inreceptacleobject", ()))
        inner = [f"a {world.names[one]}" for one, outer in pairs if outer == identifier]
        return f"This is a normal {name}. In it, you see {listed(inner)}."
    said = next(text for flags, text in _LOOKS if all(state.has(flag, identifier) for flag in flags))
    return said.format(name)


def inventory(state: State) -> str:
    """What is held."""
    if not state.held:
        return "You are not carrying anything."
    held = [f"a {state.world.names[identifier]}" for identifier in sorted(state.held)]
    return f"You are carrying: {listed(held)}."


def listed(parts: list[str]) -> str:
    """`a, b, and c`."""
    if len(parts) < 2:
        return parts[0] if parts else "nothing"
    return f"{', '.join(parts[:-1])}, and {parts[-1]}"


def _room(names: list[str]) -> str:
    seen = listed([f"a {name}" for name in names])
    return f"You are in the middle of a room. Looking quickly around you, you see {seen}."
