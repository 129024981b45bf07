"""Every command that is possible in a state, as ALFWorld lists them."""

from collections.abc import Iterator

from envhub.envs.alfworld.state import State
from envhub.envs.alfworld.world import APPLIANCES, KNIVES, TREATED


def admissible(state: State) -> tuple[str, ...]:
    """Sorted."""
    found = {"help", "inventory", "look", *_walks(state), *_places(state), *_things(state), *_uses(state)}
    return tuple(sorted(found))


def _walks(state: State) -> Iterator[str]:
    for place, location in state.world.locations.items():
        if location != state.location:
            yield f"go to {state.world.names[place]}"


def _places(state: State) -> Iterator[str]:
    """What can be done to the receptacles here."""
    for place in state.here():
        name = state.world.names[place]
        yield f"examine {name}"
        if state.world.has("openable", place):
            yield f"{'close' if state.is_open(place) else 'open'} {name}"


def _things(state: State) -> Iterator[str]:
    """What can be done to the things in the receptacles here; to examine one it must be held."""
    names = state.world.names
    for thing, place in state.reachable():
        if not state.held and state.world.has("pickupable", thing):
            yield f"take {names[thing]} from {names[place]}"
    for place in state.here():
        for thing in state.inside[place]:
            if state.world.has("toggleable", thing):
                yield f"use {names[thing]}"


def _uses(state: State) -> Iterator[str]:
    """What can be done with what is held."""
    world, names = state.world, state.world.names
    for held in state.held:
        yield f"examine {names[held]}"
        for place in state.here():
            if state.is_open(place) and world.fits(held, place):
                yield f"move {names[held]} to {names[place]}"
            for verb, kind in APPLIANCES.items():
                if world.kinds[place] == kind and world.has(TREATED[verb], held):
                    yield f"{verb} {names[held]} with {names[place]}"
        if world.kinds[held] in KNIVES:
            for thing in state.nearby[state.location]:
                if world.has("sliceable", thing):
                    yield f"slice {names[thing]} with {names[held]}"
