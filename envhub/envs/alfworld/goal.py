"""When a game is won: its PDDL goal as a question to the facts that hold now."""

from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from itertools import count
from typing import Any

from envhub.envs.alfworld.problem import Expression, typed

Facts = Callable[[str], Iterable[tuple[str, ...]]]
"""All facts of a predicate that hold, without the predicate; of a type, all objects."""
Binding = dict[str, str]
_WORDS = ("and", "or", "not", "exists", "forall", "=")
_CACHED = 4096


def is_met(goal: Expression, facts: Facts) -> bool:
    """Whether the goal holds; it may use and, or, not, exists, forall and equality."""
    return _together((_prepared(goal),), facts, {})


def atoms(goal: Expression) -> list[Expression]:
    """Every atom of the goal, in order, wherever it stands."""
    if goal and goal[0] in ("exists", "forall"):
        return atoms(goal[2])
    if goal and goal[0] in ("and", "or", "not"):
        return [atom for part in goal[1:] for atom in atoms(part)]
    return [goal] if goal else []


@lru_cache(_CACHED)
def _prepared(goal: Expression) -> Expression:
    """The goal with a name of its own for every quantified variable."""
    numbers = count()

    def renamed(part: Any, names: Binding) -> Any:
        if isinstance(part, str):
            return names.get(part, part)
        if part and part[0] in ("exists", "forall"):
            own = {name: f"{name}_{next(numbers)}" for name, _ in typed(part[1])}
            # A type is asked for as if it were a predicate.
            types = tuple((kind, own[name]) for name, kind in typed(part[1]))
            return (part[0], types, renamed(part[2], {**names, **own}))
        return tuple(renamed(one, names) for one in part)

    found: Expression = renamed(goal, {})
    return found


def _together(parts: tuple[Expression, ...], facts: Facts, binding: Binding) -> bool:
    """Whether one choice for the unbound variables makes all parts true."""
    flat = _flat(parts)
    for part in flat:
        if all(name in binding for name in _free(part)):
            rest = tuple(one for one in flat if one is not part)
            return _holds(part, facts, binding) and _together(rest, facts, binding)
    atom = min((part for part in flat if part[0] not in _WORDS), key=_width, default=None)
    if atom is None:
        return not flat
    rest = tuple(one for one in flat if one is not atom)
    return any(_together(rest, facts, found) for found in _matches(atom, facts, binding))


def _holds(part: Expression, facts: Facts, binding: Binding) -> bool:
    """Whether a part without unbound variables is true."""
    match part:
        case ("or", *parts):
            return any(_together((one,), facts, binding) for one in parts)
        case ("not", inner):
            return not _together((inner,), facts, binding)
        case ("forall", types, inner):
            return not _together((*types, ("not", inner)), facts, binding)
        case ("=", one, other):
            return binding.get(one, one) == binding.get(other, other)
    return next(_matches(part, facts, binding), None) is not None


def _matches(atom: Expression, facts: Facts, binding: Binding) -> Iterator[Binding]:
    """The bindings that make an atom true."""
    wanted = [str(binding.get(argument, argument)) for argument in atom[1:]]
    for fact in facts(atom[0]):
        found = dict(binding)
        for want, have in zip(wanted, fact, strict=False):
            if have != (found.setdefault(want, have) if want.startswith("?") else want):
                break
        else:
            yield found


@lru_cache(_CACHED)
def _flat(parts: tuple[Expression, ...]) -> tuple[Expression, ...]:
    """Conjunctions and existential quantifiers dissolved; names are unique, so that nothing collides."""
    flat: list[Expression] = []
    for part in parts:
        if part and part[0] == "and":
            flat.extend(_flat(part[1:]))
        elif part and part[0] == "exists":
            flat.extend(_flat(part[2:]))
        elif part:
            flat.append(part)
    return tuple(flat)


@lru_cache(_CACHED)
def _free(part: Any) -> frozenset[str]:
    """The variables that a part speaks of without quantifying them."""
    if isinstance(part, str):
        return frozenset([part]) if part.startswith("?") else frozenset()
    if part and part[0] in ("exists", "forall"):
        return _free(part[2]) - _free(part[1])
    return frozenset().union(*map(_free, part))


def _width(atom: Expression) -> tuple[int, int]:
    """Fewest variables first."""
    return len(_free(atom)), len(atom)
