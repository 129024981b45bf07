"""What a plan says, for people and for programs."""

from collections.abc import Sequence
from dataclasses import asdict
from statistics import fmean
from typing import Any, get_args

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from launch.plan.arguments import SWEPT
from launch.plan.costs import Origin
from launch.plan.settings import Result, recommended
from launch.plan.simulation import Plan

WIDTH = 120
"""Of the tables, at least: a narrower terminal wraps lines, and no figure is cut."""
ORIGINS: tuple[Origin, ...] = get_args(Origin)
LIMIT = "limited by"
SHOWN = ("engine_queue", "hub_queue", "weights")
"""Waits that have a column where any setting has them."""
NOTICEABLE = 0.005

LABELS = {
    "actors": "actors",
    "ranks": "ranks",
    "max_staleness": "limit",
    "bandwidth_mb_s": "MB/s",
    "environment_s": "env s",
}


def print_plan(plan: Plan, found: Sequence[Result], *, steps: int) -> None:
    """The figures that it rests on, a row per setting, and the smallest setting that is nearly the best."""
    shown = Console()
    shown.width = max(shown.width, WIDTH)
    shown.print(_rests_on(plan))
    shown.print(_speeds(plan, found))
    shown.print(_waits(found))
    config = plan.config
    if steps < config.learner.steps:
        kind = config.horizon.kind
        ending = f"; horizon.kind = {kind} goes on after them" if kind != "fixed" else ""
        shown.print(f"simulated: the first {steps} of {config.learner.steps} steps{ending}", soft_wrap=True)
    shown.print(recommendation(plan, found), soft_wrap=True)


def recommendation(plan: Plan, found: Sequence[Result]) -> str:
    """One line: the smallest setting within the given share of the best."""
    within = plan.config.plan.within
    chosen = recommended(found, within)
    best = max(result.mean("tokens_per_s") for result in found)
    reached = chosen.mean("tokens_per_s") / best if best else 1.0
    return (
        f"recommended: {_named(chosen, found)}: {chosen.mean('tokens_per_s'):.0f} trained tokens/s, "
        f"{reached:.0%} of the best of these settings; limited by {chosen.bottleneck}"
    )


def as_json(plan: Plan, found: Sequence[Result], *, steps: int) -> dict[str, Any]:
    """Everything: what was assumed, every outcome of every seed, the recommendation."""
    chosen = recommended(found, plan.config.plan.within)
    return {
        "rests_on": [asdict(note) for note in plan.notes],
        "steps": steps,
        "settings": [
            {
                "setting": asdict(result.setting),
                "bottleneck": result.bottleneck,
                "seconds_to_the_last_step": result.seconds_to(plan.config.learner.steps),
                "outcomes": [asdict(outcome) for outcome in result.outcomes],
            }
            for result in found
        ],
        "recommended": asdict(chosen.setting),
    }


def _named(result: Result, found: Sequence[Result]) -> str:
    return ", ".join(f"{LABELS[name]} {getattr(result.setting, name):g}" for name in _varying(found))


def _varying(found: Sequence[Result]) -> list[str]:
    """Fields in which the settings differ, and always the number of actors."""
    several = [n for n in SWEPT if len({getattr(result.setting, n) for result in found}) > 1]
    return ["actors", *(name for name in several if name != "actors")]


def _rests_on(plan: Plan) -> Table:
    table = Table(title="what this rests on", title_justify="left", box=None, pad_edge=False)
    for column in ("figure", "value", "from"):
        table.add_column(column, no_wrap=True, justify="right" if column == "value" else "left")
    table.add_column("meaning", style="dim")
    for note in sorted(plan.notes, key=lambda note: ORIGINS.index(note.origin)):
        table.add_row(note.name, f"{note.value:.4g}", note.origin, note.meaning)
    return table


def _table(title: str, found: Sequence[Result], columns: Sequence[str]) -> Table:
    table = Table(
        title=title,
        title_justify="left",
        caption_justify="left",
        box=SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
    )
    for name in (*(LABELS[name] for name in _varying(found)), *columns):
        table.add_column(name, justify="left" if name == LIMIT else "right", min_width=min(7, len(name)))
    return table


def _cells(result: Result, found: Sequence[Result]) -> list[str]:
    return [f"{getattr(result.setting, name):.3g}" for name in _varying(found)]


def _speeds(plan: Plan, found: Sequence[Result]) -> Table:
    steps = plan.config.learner.steps
    columns = (
        "steps/h",
        "±",
        "traj/s",
        "tokens/s",
        "hours",
        "stale",
        "p95",
        "max",
        "flight",
        "queue",
        "masked",
    )
    table = _table(f"speed and staleness, means of {plan.config.plan.seeds} seeds", found, (*columns, LIMIT))
    for result in found:
        table.add_row(
            *_cells(result, found),
            f"{result.mean('steps_per_hour'):.0f}",
            f"{result.spread('steps_per_hour'):.0f}",
            f"{result.mean('trajectories_per_s'):.3g}",
            f"{result.mean('tokens_per_s'):.0f}",
            f"{result.seconds_to(steps) / 3600:.2f}",
            f"{result.mean('staleness_mean'):.2f}",
            f"{result.mean('staleness_p95'):.1f}",
            f"{max(outcome.staleness_max for outcome in result.outcomes):.0f}",
            f"{result.mean('in_flight'):.2f}",
            f"{result.mean('in_queue'):.2f}",
            f"{result.mean('masked_share'):.1%}",
            result.bottleneck,
        )
    table.caption = (
        f"±: standard deviation over the seeds. hours: to step {steps}. stale, max: oldest tokens of groups, "
        "in versions; p95: of trajectories; masked tokens are not trained on"
    )
    return table


def _waits(found: Sequence[Result]) -> Table:
    shown = [n for n in SHOWN if any(_wait(result, n) > NOTICEABLE for result in found)]
    waits = ["generation", "environment", *shown]
    columns = ["learner idle", "engines idle", "sessions idle", *(name.replace("_", " ") for name in waits)]
    table = _table("where the time goes", found, [*columns, "groups queued", "in play", "running"])
    for result in found:
        table.add_row(
            *_cells(result, found),
            *(f"{result.mean(name):.0%}" for name in ("learner_idle", "engine_idle", "capacity_idle")),
            *(f"{_wait(result, name):.0%}" for name in waits),
            f"{result.mean('queue_groups'):.1f}",
            f"{result.mean('episodes_in_play'):.1f}",
            f"{result.mean('engine_running'):.1f}",
        )
    table.caption = "after `sessions idle`: shares of an episode's time, from its grant to its commit"
    return table


def _wait(result: Result, name: str) -> float:
    return fmean(outcome.waits[name] for outcome in result.outcomes)
