"""`python -m tests.faults.put_back [FAULT...]`: puts faults back one by one and runs the tests against them.

In a copy of this tree, as it is on the disk. First all guards must pass there; then with each fault every one
of its guards must fail. Without names all faults are tried, in minutes.
"""

import argparse
import importlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.faults.fault import ROOT, Fault
from tests.faults.table import FAULTS

TREE = ("actors", "benchmarks", "common", "configs", "docs", "envhub", "launch", "learner", "tests")

HEAVY = ("hypothesis", "pydantic", "torch.distributed.fsdp", "transformers.models.llama.modeling_llama")
"""Imported once, before anything is forked."""


def main(arguments: list[str] | None = None) -> int:
    """0 when every fault is noticed by each of its guards."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("faults", nargs="*", metavar="FAULT", help="names of the table; none: all")
    names = parser.parse_args(arguments).faults
    chosen = [fault for fault in FAULTS if not names or fault.name in names]
    if unknown := set(names) - {fault.name for fault in chosen}:
        parser.error(f"no such fault: {', '.join(sorted(unknown))}")
    for module in HEAVY:
        importlib.import_module(module)
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


def failing(root: Path, guards: Iterable[str]) -> dict[str, str]:
    """Which of the guards have a case that fails below `root`, and why; RuntimeError when none can be run."""
    wanted = sorted(guards)
    said = root / "said.txt"
    code = _run_pytest([*wanted, "-q", "-rfE", "--tb=no", "-p", "no:cacheprovider"], root, said)
    text = said.read_text()
    if code not in (0, 1):
        raise RuntimeError(f"pytest ended with {code}:\n{text[-3000:]}")
    why: dict[str, str] = {}
    for line in text.splitlines():
        if line.startswith(("FAILED ", "ERROR ")):
            case, _, reason = line.partition(" ")[2].partition(" - ")
            for guard in wanted:
                if case == guard or case.startswith(f"{guard}["):
                    why.setdefault(guard, reason)
    return why


def _run_pytest(arguments: list[str], root: Path, said: Path) -> int:
    """The exit code of pytest in a fork of this process: what it has imported need not be imported again.

    Nothing of ours is imported here but the table, and the fork forgets it: ours are those below `root`.
    """
    if pid := os.fork():
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    code = 3
    try:
        with said.open("w") as out:
            os.dup2(out.fileno(), 1)
            os.dup2(out.fileno(), 2)
        os.chdir(root)
        os.environ |= {"PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1", "COLUMNS": "400"}
        sys.dont_write_bytecode = True
        sys.path[:] = [str(root), *(entry for entry in sys.path if entry not in ("", str(ROOT)))]
        for name in [name for name in sys.modules if name.partition(".")[0] == "tests"]:
            del sys.modules[name]
        code = int(pytest.main(arguments))
    finally:
        os._exit(code)


def _is_noticed(copy: Path, fault: Fault) -> bool:
    originals = {edit.file: (copy / edit.file).read_text() for edit in fault.edits}
    try:
        for edit in fault.edits:
            edit.put_back(copy)
        why = failing(copy, fault.guards)
    finally:
        for file, text in originals.items():
            (copy / file).write_text(text)
    for guard in fault.guards:
        noticed = f"noticed by {guard}: {why[guard]}" if guard in why else f"NOT NOTICED by {guard}"
        _say(f"{fault.name}: {noticed}")
    return why.keys() >= set(fault.guards)


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
