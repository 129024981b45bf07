"""Trajectories as Parquet: one file, or a folder that the Hugging Face `datasets` package loads.

    out.parquet                                     pyarrow, pandas, polars, duckdb
    out/README.md                                   the card: splits, columns, where it is from
    out/data/train-00000-of-00002.parquet           datasets.load_dataset("out")
    out/data/test-00000-of-00001.parquet            held-out tasks

Whole or not at all: everything is written under another name first.
"""

import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from common.errors import ConfigurationError
from common.trajectory import Trajectory
from launch.data_columns import COLUMNS, FORMAT, row_of, schema, trajectory_of
from learner.ledger_reader import Played

ROWS_PER_GROUP = 256
"""Rows that are in memory at a time."""
ROWS_PER_FILE = 10_000
"""Trajectories in one file of a data set."""


def write_parquet(path: Path, played: Iterable[Played]) -> int:
    """Write one file; how many rows. ConfigurationError when the disk or the folder refuses."""
    with _replacing(path) as unfinished:
        unfinished.parent.mkdir(parents=True, exist_ok=True)
        return _write(unfinished, played)


def read_parquet(path: Path) -> Iterator[Trajectory]:
    """The trajectories of one file, in order; ConfigurationError when it is no such file."""
    try:
        with pq.ParquetFile(path) as file:
            if (found := (file.schema_arrow.metadata or {}).get(b"format", b"").decode()) != FORMAT:
                raise ConfigurationError(f"{path}: its format is {found!r}; expected {FORMAT!r}")
            for batch in file.iter_batches(ROWS_PER_GROUP):
                yield from map(trajectory_of, batch.to_pylist())
    except (OSError, pa.ArrowException) as error:
        raise ConfigurationError(f"{path}: cannot be read as Parquet: {_line(error)}") from None


def write_dataset(
    folder: Path, run: str, splits: Mapping[str, tuple[int, Iterable[Played]]]
) -> dict[str, int]:
    """Write a data set; `splits` are (number of rows, rows) by name, empty ones are left out. Rows by split.

    ConfigurationError when the folder is there and not empty, or when the disk refuses.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigurationError(f"--out={folder}: is there already; give a folder that is not, or is empty")
    written: dict[str, int] = {}
    with _replacing(folder) as unfinished:
        (unfinished / "data").mkdir(parents=True)
        for split, (number, played) in splits.items():
            if number:
                written[split] = _write_split(unfinished / "data", split, number, iter(played))
        (unfinished / "README.md").write_text(card(run, written), encoding="utf-8")
    return written


def _write_split(folder: Path, split: str, number: int, played: Iterator[Played]) -> int:
    num_files = -(-number // ROWS_PER_FILE)
    return sum(
        _write(
            folder / f"{split}-{index:05d}-of-{num_files:05d}.parquet",
            played if index == num_files - 1 else islice(played, ROWS_PER_FILE),
        )
        for index in range(num_files)
    )


def _write(path: Path, played: Iterable[Played]) -> int:
    number, rows = 0, map(row_of, played)
    with pq.ParquetWriter(path, schema(), compression="zstd") as writer:
        while batch := list(islice(rows, ROWS_PER_GROUP)):
            writer.write_table(pa.Table.from_pylist(batch, schema=schema()))
            number += len(batch)
    with path.open("rb") as file:
        os.fsync(file.fileno())
    return number


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """A path to write to that gets the name `path` when the body succeeds, and vanishes when it does not."""
    unfinished = path.with_name(path.name + ".unfinished")
    try:
        _remove(unfinished)
        yield unfinished
        if path.is_dir():
            path.rmdir()
        os.replace(unfinished, path)
    except (OSError, pa.ArrowException) as error:
        raise ConfigurationError(f"{path}: cannot be written: {_line(error)}") from None
    finally:
        _remove(unfinished)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    elif path.exists():
        path.unlink()


def card(run: str, splits: Mapping[str, int]) -> str:
    """The README of a data set: what `datasets` reads of it, then the columns for people."""
    files = "".join(f"  - split: {split}\n    path: data/{split}-*.parquet\n" for split in splits)
    counts = ", ".join(f"{number} in `{split}`" for split, number in splits.items()) or "none"
    return (
        f"---\nconfigs:\n- config_name: default\n  data_files:\n{files}---\n\n"
        f"# Trajectories of the run {run}\n\n"
        f"Written by `pronghorn data export`, format `{FORMAT}`. One row per trajectory: {counts}; `train` "
        "was played for training, `test` are held-out tasks.\n\n" + columns_table()
    )


def columns_table() -> str:
    """The columns as a table of Markdown."""
    rows = "".join(f"| `{c.name}` | `{_type_of(c.type)}` | {c.meaning} |\n" for c in COLUMNS)
    return f"| column | type | meaning |\n|---|---|---|\n{rows}"


def _type_of(kind: Any) -> str:
    """As Arrow writes it, without the names that it gives the items of lists."""
    return str(kind).replace("list<element: ", "list<").replace("list<item: ", "list<")


def _line(error: Exception) -> str:
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(text.split())[:200]
