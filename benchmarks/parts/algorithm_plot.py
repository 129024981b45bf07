"""The curves of `benchmarks/algorithms.py` as SVG; the same results make the same file."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from benchmarks.parts.algorithm_outcome import Result

SALT = "pronghorn"
COLUMNS = 4
PANEL = 2.6
"""Inches."""


def draw(file: Path, panels: Mapping[str, Sequence[tuple[str, Result]]]) -> None:
    """One panel per title, with a line per (label, result): success over steps, its interval, its seeds.

    The band is the Wilson interval over all seeds, the thin lines are the seeds, dashes show the warm start.
    """
    columns = min(COLUMNS, len(panels))
    lines = -(-len(panels) // columns)
    with mpl.rc_context({"svg.hashsalt": SALT, "font.size": 8.0, "svg.fonttype": "none"}):
        figure = Figure(figsize=(PANEL * columns * (1.6 if columns < COLUMNS else 1.0), PANEL * lines))
        axes = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False).flat
        for panel, (title, curves) in zip(axes, panels.items(), strict=False):
            _panel(panel, title, curves)
        for unused in list(axes)[len(panels) :]:
            unused.remove()
        figure.supxlabel("learner step")
        figure.supylabel("held-out success")
        figure.tight_layout()
        figure.savefig(file, format="svg", metadata={"Date": None})


def _panel(panel: Any, title: str, curves: Sequence[tuple[str, Result]]) -> None:
    panel.set_title(title)
    panel.set_ylim(0, 1)
    panel.grid(alpha=0.3)
    for index, (label, result) in enumerate(curves):
        curve, color = result.curve, f"C{index}"
        steps = list(curve)
        panel.plot(
            steps, [share.value for share in curve.values()], color=color, label=label, marker="o", ms=3
        )
        low, high = zip(*(share.interval for share in curve.values()), strict=True)
        panel.fill_between(steps, low, high, color=color, alpha=0.2, lw=0)
        for run in result.runs if len(curves) == 1 else ():
            panel.plot(
                list(run.heldout), [s.value for s in run.heldout.values()], color=color, lw=0.6, alpha=0.6
            )
        panel.axhline(result.before.value, color="grey", lw=0.8, ls="--")
    if len(curves) > 1:
        panel.legend(loc="lower right", fontsize=7)
