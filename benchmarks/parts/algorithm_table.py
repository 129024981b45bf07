"""The results of `benchmarks/algorithms.py` as a Markdown table, and put into a page between its marks."""

from collections.abc import Sequence
from pathlib import Path

from benchmarks.parts.algorithm_outcome import Result, pooled


def algorithm_table(results: Sequence[Result]) -> str:
    """Held-out success before and after by algorithm; ValueError without results."""
    lines = [
        "| algorithm | advantage + loss | warm start | after | by seed | above |",
        "|---|---|---|---|---|---|",
    ]
    for result in results:
        cells = [f"`{result.row.name}`", result.row.label, result.before.text(), result.after.text()]
        lines.append(_line([*cells, _by_seed(result), _verdict(result)]))
    return "\n".join([*lines, "", _note(results)])


def staleness_table(results: Sequence[Result]) -> str:
    """Held-out success by loss and forced staleness; ValueError without results."""
    lines = [
        "| loss | forced staleness | measured | effective share | warm start | after | by seed | above |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for result in results:
        effective = sum(run.effective_share for run in result.runs) / len(result.runs)
        cells = [f"`{result.row.changes['loss.kind']}`", str(result.row.staleness), f"{result.staleness:.2f}"]
        cells += [f"{effective:.3f}", result.before.text(), result.after.text()]
        lines.append(_line([*cells, _by_seed(result), _verdict(result)]))
    return "\n".join([*lines, "", _note(results)])


def insert(page: Path, name: str, text: str) -> None:
    """Put `text` between `<!-- NAME -->` and `<!-- /NAME -->`; ValueError when the page lacks the marks."""
    content = page.read_text()
    begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    before, found, rest = content.partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise ValueError(f"{page}: has no part between {begin} and {end}")
    page.write_text(f"{before}{begin}\n{text}\n{end}{after}")


def _note(results: Sequence[Result]) -> str:
    """What a reader must know of the numbers."""
    if not results:
        raise ValueError("no row has all of its runs")
    start = pooled(result.before for result in results)
    runs = [run for result in results for run in result.runs]
    minutes = sum(run.training_s for run in runs) / len(runs) / 60
    steps, tasks = max(runs[0].heldout), runs[0].before.trials
    return (
        f"{len(results[0].runs)} seeds, {steps} steps each, {tasks} held-out tasks a seed, sampled at "
        f"temperature 1; 95 % Wilson intervals over all seeds. The warm start over all {len(runs)} runs: "
        f"{start.text()}. A run took {minutes:.1f} minutes on one CPU core, mean, and played "
        f"{sum(run.num_played for run in runs) / len(runs):,.0f} training episodes."
    )


def _by_seed(result: Result) -> str:
    return ", ".join(f"{run.after.value:.2f}" for run in result.runs)


def _verdict(result: Result) -> str:
    return "yes" if result.is_above else "no"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
