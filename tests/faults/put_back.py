"""`python -m tests.faults.put_back [FAULT...]`: puts faults back one by one and runs the tests against them.

In a copy of this tree, as it is on the disk. First all guards must pass there; then with each fault every one
of its guards must fail. Without names all faults are tried: about ten seconds for each.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from tests.faults.fault import ROOT, Fault
from tests.faults.table import FAULTS

TREE = ("actors", "benchmarks", "common", "configs", "docs", "envhub", "launch", "learner", "tests")


def main(arguments: list[str] | None = None) -> int:
    """0 when every fault is noticed by each of its guards."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("faults", nargs="*", metavar="FAULT", help="names of the table; none: all")
    names = parser.parse_args(arguments).faults
    chosen = [fault for fault in FAULTS if not names or fault.name in names]
    if unknown := set(names) - {fault.name for fault in chosen}:
        parser.error(f"no such fault: {', '.join(sorted(unknown))}")
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        _copy(copy)
        failed = failing(copy, {guard for fault in chosen for guard in fault.guards})
        if failed:
            _say(f"without any fault: FAILED {', '.join(sorted(failed))}")
            return 1
        unnoticed = [fault for fault in chosen if not _is_noticed(copy, fault)]
    _say(f"{len(chosen) - len(unnoticed)} of {len(chosen)} faults are noticed by all of their guards")
    return 1 if unnoticed else 0


def failing(root: Path, guards: Iterable[str]) -> set[str]:
    """Which of the guards have a case that fails below `root`; RuntimeError when none can be run."""
    wanted = sorted(guards)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *wanted, "-q", "-rfE", "--tb=no", "-p", "no:cacheprovider"],
        cwd=root,
        env=os.environ | {"PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode not in (0, 1):
        raise RuntimeError(
            f"pytest ended with {done.returncode}:\n{done.stdout[-3000:]}{done.stderr[-1000:]}"
        )
    bad = [
        line.split(" ", 1)[1] for line in done.stdout.splitlines() if line.startswith(("FAILED ", "ERROR "))
    ]
    return {guard for guard in wanted if any(line.startswith(guard) for line in bad)}


def _is_noticed(copy: Path, fault: Fault) -> bool:
    originals = {edit.file: (copy / edit.file).read_text() for edit in fault.edits}
    try:
        for edit in fault.edits:
            edit.put_back(copy)
        silent = set(fault.guards) - failing(copy, fault.guards)
    finally:
        for file, text in originals.items():
            (copy / file).write_text(text)
    for guard in fault.guards:
        _say(f"{fault.name}: {'NOT NOTICED by' if guard in silent else 'noticed by'} {guard}")
    return not silent


def _copy(to: Path) -> None:
    for name in TREE:
        shutil.copytree(ROOT / name, to / name, ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    for file in ROOT.iterdir():
        if file.is_file():
            shutil.copy(file, to)


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
