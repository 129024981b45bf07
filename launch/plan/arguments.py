"""The arguments of `pronghorn plan`; imports nothing heavier than argparse."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any


def _whole(least: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = least - 1
        if number < least:
            raise argparse.ArgumentTypeError(f"{text!r}: allowed are whole numbers from {least}")
        return number

    return parse


def _amount(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < 1e12:
        raise argparse.ArgumentTypeError(f"{text!r}: allowed are numbers from 0")
    return number


def _listed(kind: Callable[[str], Any]) -> Callable[[str], list[Any]]:
    return lambda text: [kind(part) for part in text.split(",")]


SWEPT = {
    "actors": ("--actors", _whole(1), "N,...", "actor processes, each with an engine of its own"),
    "ranks": ("--ranks", _whole(1), "M,...", "ranks of the learner, on each of its hosts"),
    "max_staleness": ("--max-staleness", _whole(0), "V,...", "policy versions"),
    "bandwidth_mb_s": ("--bandwidth", _amount, "MB/S,...", "between hosts; 0: weights stay on one host"),
    "environment_s": ("--latency", _amount, "S,...", "mean of an environment step; recorded ones are scaled"),
}
"""Field of a setting -> its option; every combination of the values given is simulated."""


def add_plan(commands: Any) -> None:
    """The arguments of `plan`."""
    plan = commands.add_parser(
        "plan",
        help="how fast the system would be with other actors, ranks and networks",
        epilog="Every figure that it rests on can be given, as in --plan.slowdown=2: see docs/plan.md.",
    )
    plan.add_argument(
        "sources",
        nargs="+",
        type=Path,
        metavar="RUN|CONFIG.toml",
        help="a run to calibrate on, or stated figures",
    )
    for name, (option, kind, metavar, text) in SWEPT.items():
        plan.add_argument(option, dest=name, type=_listed(kind), default=[], metavar=metavar, help=text)
    plan.add_argument(
        "--steps",
        type=_whole(1),
        default=0,
        metavar="N",
        help="to simulate; default: learner.steps, at most 300",
    )
    plan.add_argument("--json", type=Path, metavar="FILE", help="write everything there too")
