"""Every algorithm from the same warm start with the same budget; or, forced to be stale, two losses.

    python -m benchmarks.algorithms               # 8 algorithms, 3 seeds
    python -m benchmarks.algorithms --offpolicy   # 2 losses at staleness 0, 2, 8 and 16, 3 seeds

A run is `pronghorn local` of `configs/algorithms.toml` on one core, with what its row changes
(`benchmarks/parts/algorithm_rows.py`). Runs are kept under `--work` and a finished one is not run again: the
same command goes on where it was stopped. It ends with a table, JSON and a plot of every row of which all
seeds are finished; with exit code 1 when a run broke or a row did not end above the warm start.
"""

import os
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path

from benchmarks.parts.algorithm_outcome import Result, results
from benchmarks.parts.algorithm_plot import draw
from benchmarks.parts.algorithm_pool import Job, make_warm_start, run_all
from benchmarks.parts.algorithm_rows import ALGORITHMS, FORCED, OFF_POLICY, Row, chosen
from benchmarks.parts.algorithm_table import algorithm_table, insert, staleness_table
from benchmarks.report import machine
from common.errors import PronghornError
from common.run_directory import write_json

WORK = Path("runs") / "algorithms"


def shared(warm_start: Path, extra: Sequence[str]) -> tuple[str, ...]:
    """What all runs change in the configuration: they begin with the warm start instead of making one."""
    begin = ("--model.source=path", f"--model.path={warm_start}", "--sft.num_demonstrations=0")
    return (*begin, *extra)


def panels(found: Sequence[Result], *, is_off_policy: bool) -> dict[str, list[tuple[str, Result]]]:
    """One panel per algorithm, or per loss with a line per staleness."""
    if not is_off_policy:
        return {result.row.name: [("", result)] for result in found}
    split: dict[str, list[tuple[str, Result]]] = {}
    for result in found:
        label = f"{result.row.staleness} versions old"
        split.setdefault(result.row.changes["loss.kind"], []).append((label, result))
    return split


def write(found: Sequence[Result], arguments: Namespace, name: str) -> None:
    """JSON and plot into `--out`, the table into `--page` when there is one, else beside them."""
    table = staleness_table(found) if arguments.offpolicy else algorithm_table(found)
    arguments.out.mkdir(parents=True, exist_ok=True)
    rows = [result.values() for result in found]
    write_json(arguments.out / f"{name}.json", {"rows": rows, "machine": machine()})
    draw(arguments.out / f"{name}.svg", panels(found, is_off_policy=arguments.offpolicy))
    if arguments.page:
        insert(arguments.page, name, table)
    else:
        (arguments.out / f"{name}_table.md").write_text(f"{table}\n")
    print(f"\n{table}\n\npronghorn: results are in {arguments.out / name}.json and .svg", flush=True)


def compare(rows: Sequence[Row], arguments: Namespace, extra: Sequence[str]) -> int:
    """Run what is missing and write what is whole; the exit code."""
    work, seeds = arguments.work.resolve(), range(arguments.seeds)
    warm_start = make_warm_start(work, extra, core=0)
    jobs = [Job(row, seed, work, shared(warm_start, extra)) for seed in seeds for row in rows]
    broken = run_all(jobs, arguments.jobs)
    folders = {(job.row.name, job.seed): job.folder.path for job in jobs if job.name not in broken}
    found = results(rows, seeds, folders)
    if found:
        write(found, arguments, "offpolicy" if arguments.offpolicy else "algorithms")
    failed = [f"{name} broke" for name in broken]
    if not arguments.offpolicy:
        failed += [f"{r.row.name} did not end above the warm start" for r in found if not r.is_above]
    for reason in failed:
        print(f"pronghorn: {reason}", file=sys.stderr)
    return 1 if failed else 0


def read_arguments() -> Namespace:
    """The command line."""
    parser = ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add = parser.add_argument
    add("--offpolicy", action="store_true", help=f"two losses, their staleness forced to {FORCED}")
    add("--only", nargs="+", default=[], metavar="NAME", help="these rows")
    add("--seeds", type=int, default=3, help="runs of each row")
    add("--jobs", type=int, default=os.cpu_count(), help="runs at a time, one on each core")
    add("--work", type=Path, default=WORK, help="where runs are kept")
    add("--out", type=Path, default=WORK / "results", help="where JSON and plot are written")
    add("--page", type=Path, help="a page with marks; the table is put between them")
    add("--set", nargs="+", default=[], metavar="SECTION.FIELD=VALUE", help="for all runs")
    arguments = parser.parse_args()
    for name, most in (("seeds", 1000), ("jobs", os.cpu_count() or 1)):
        if not 1 <= getattr(arguments, name) <= most:
            parser.error(f"--{name} {getattr(arguments, name)}: allowed are 1 to {most}")
    return arguments


def main() -> int:
    """Compare; the exit code."""
    arguments = read_arguments()
    try:
        rows = chosen(OFF_POLICY if arguments.offpolicy else ALGORITHMS, arguments.only)
        return compare(rows, arguments, [f"--{change}" for change in arguments.set])
    except (ValueError, PronghornError) as error:
        print(f"pronghorn: {error}", file=sys.stderr)
        return error.exit_code if isinstance(error, PronghornError) else 2


if __name__ == "__main__":
    sys.exit(main())
