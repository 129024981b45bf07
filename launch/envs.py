"""`pronghorn envs`: which environments there are, and of those that are missing the command that helps."""

import argparse
import json
from collections.abc import Sequence
from textwrap import shorten
from typing import Any

from rich.console import Console
from rich.table import Table

from common.errors import ConfigurationError, PreflightError
from envhub import registry
from envhub.description import describe
from envhub.refusal import HubRefusal
from envhub.session import guarded

COUNTS_WIDTH = 34
"""What the columns between the names and the last one take."""


def main(options: argparse.Namespace, overrides: Sequence[str]) -> int:
    """Print a table, or JSON with `--json`; 0 even where some are missing."""
    if overrides:
        raise ConfigurationError(f"{overrides[0]!r}: pronghorn envs takes names, not settings")
    rows = [_described(name) for name in options.names or registry.names()]
    if options.json:
        print(json.dumps(rows, indent=2))
    else:
        _print(rows)
    return 0


def _described(name: str) -> dict[str, Any]:
    """One that breaks when it is asked what it is, is listed as missing; ConfigurationError for no name."""
    try:
        return guarded(lambda: describe(name, registry.environment))
    except PreflightError as error:
        reason = str(error)
    except HubRefusal as refusal:
        reason = f"environment {name}: {refusal.message}"
    return {"name": name, "is_available": False, "reason": reason}


def _print(rows: list[dict[str, Any]]) -> None:
    console = Console()
    table = Table(
        "environment", "train", "test", "unseen", "expert", "what backs it", box=None, pad_edge=False
    )
    # What does not fit is in --json.
    room = max(20, console.width - max(len(row["name"]) for row in rows) - COUNTS_WIDTH)
    for row in rows:
        if row["is_available"]:
            counts = [str(row[f"num_{split}"]) for split in ("train", "test", "unseen")]
            expert = "yes" if row["has_expert"] else "no"
            table.add_row(row["name"], *counts, expert, shorten(row["source"], room, placeholder=" ..."))
    if table.row_count:
        console.print(table)
    for row in rows:
        if not row["is_available"]:
            console.print(f"missing: {row['reason']}", highlight=False, markup=False, soft_wrap=True)
