"""`make bench`: every benchmark, one after the other; fails when one of them could not be run.

Each runs in a process of its own, so that none inherits another's threads or memory. With `--json FOLDER`
every benchmark leaves its figures there as `NAME.json`.
"""

import argparse
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parent
NOT_BENCHMARKS = {"__init__", "all", "report", "algorithms", "chaos", "multinode"}
"""`algorithms` takes an hour and measures what is learnt, not how fast; the last two are `make chaos` and
`make multinode`."""


def names() -> list[str]:
    """Every module of this folder that measures how fast something is, sorted."""
    return sorted(file.stem for file in FOLDER.glob("*.py") if file.stem not in NOT_BENCHMARKS)


def main() -> int:
    """Run them all; 1 when one failed."""
    parser = argparse.ArgumentParser(description="Run every benchmark.")
    parser.add_argument("--json", type=Path, metavar="FOLDER", help="write the figures there")
    folder = parser.parse_args().json
    failed = []
    for name in names():
        print(f"pronghorn: benchmark {name}", flush=True)
        where = [] if folder is None else ["--json", str(folder / f"{name}.json")]
        if subprocess.run([sys.executable, "-m", f"benchmarks.{name}", *where], check=False).returncode:
            failed.append(name)
    if failed:
        print(f"pronghorn: failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
