"""A PDDL problem as data: objects with types, facts, a goal; read from text and written as text.

    Problem({"desk_bar_1": "receptacle"}, frozenset({("openable", "desk_bar_1")}), ("and", ...))

Everything is lower case, as the planner's own reader makes it.
"""

import re
from dataclasses import dataclass
from typing import Any

Fact = tuple[str, ...]
Expression = tuple[Any, ...]
"""Nested tuples of words: `("exists", ("?o", "-", "object"), ("and", ...))`."""

_COMMENT = re.compile(r";[^\n]*")
# Distances are thousands of lines and never change what happens.
_NUMBER = re.compile(r"\(=\s*\([^()]*\)\s*[0-9.]+\s*\)")
_TOKEN = re.compile(r"[()]|[^\s()]+")


@dataclass(frozen=True)
class Problem:
    """Where a game begins and when it is won."""

    objects: dict[str, str]
    facts: frozenset[Fact]
    goal: Expression


def read(text: str) -> Problem:
    """The problem that a PDDL text is; ValueError when it is none."""
    parts = {part[0]: part[1:] for part in expression(_NUMBER.sub("", text))[1:] if isinstance(part, tuple)}
    if not {":objects", ":init", ":goal"} <= set(parts):
        raise ValueError("not a PDDL problem: objects, init or goal is missing")
    facts = frozenset(fact for fact in parts[":init"] if fact and fact[0] != "=")
    return Problem(dict(typed(parts[":objects"])), facts, parts[":goal"][0])


def expression(text: str) -> Expression:
    """The first bracketed expression of the text, in lower case; ValueError when brackets do not match."""
    stack: list[list[Any]] = [[]]
    for token in _TOKEN.findall(_COMMENT.sub("", text).lower()):
        if token == "(":
            stack.append([])
        elif token != ")":
            stack[-1].append(token)
        elif len(stack) == 1:
            break
        else:
            done = tuple(stack.pop())
            stack[-1].append(done)
    if len(stack) != 1 or not stack[0] or not isinstance(stack[0][0], tuple):
        raise ValueError("not a PDDL expression: brackets do not match")
    return stack[0][0]


def typed(words: tuple[str, ...]) -> list[tuple[str, str]]:
    """Names with the types that a list such as `a b - object c - location` gives them."""
    found: list[tuple[str, str]] = []
    names: list[str] = []
    rest = iter(words)
    for word in rest:
        if word == "-":
            kind = next(rest, "object")
            found.extend((name, kind) for name in names)
            names = []
        elif word != ",":
            names.append(word.strip(","))
    return [*found, *((name, "object") for name in names)]


def write(problem: Problem) -> str:
    """The problem as PDDL, the same text for equal problems."""
    objects = "\n".join(f"        {name} - {kind}" for name, kind in sorted(problem.objects.items()))
    facts = "\n".join(f"        {shown(fact)}" for fact in sorted(problem.facts))
    return (
        "(define (problem game)\n    (:domain alfred)\n"
        f"    (:objects\n{objects}\n    )\n    (:init\n        (= (total-cost) 0)\n{facts}\n    )\n"
        f"    (:goal {shown(problem.goal)})\n    (:metric minimize (total-cost))\n)\n"
    )


def shown(part: Any) -> str:
    """An expression as PDDL."""
    return part if isinstance(part, str) else f"({' '.join(map(shown, part))})"
