"""The table of faults is true: the code still says what would be changed, and the tests that it names exist.

That each guard fails with its fault is shown by `python -m tests.faults.put_back`.
"""

import ast
from pathlib import Path

import pytest

from tests.faults.fault import ROOT, Edit, Fault
from tests.faults.table import FAULTS

every_fault = pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)


def copied(fault: Fault, folder: Path) -> Path:
    for edit in fault.edits:
        (folder / edit.file).parent.mkdir(parents=True, exist_ok=True)
        (folder / edit.file).write_text((ROOT / edit.file).read_text())
    return folder


@every_fault
def test_a_fault_can_be_put_back_into_the_code_as_it_is(fault: Fault, tmp_path: Path) -> None:
    root = copied(fault, tmp_path)
    for edit in fault.edits:
        edit.put_back(root)
        ast.parse((root / edit.file).read_text())
        assert (root / edit.file).read_text() != (ROOT / edit.file).read_text()


@every_fault
def test_the_guards_of_a_fault_are_tests_that_exist(fault: Fault) -> None:
    assert fault.guards
    for guard in fault.guards:
        file, _, name = guard.partition("::")
        tree = ast.parse((ROOT / file).read_text())
        names = {n.name for n in tree.body if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)}
        assert name.partition("[")[0] in names, guard


def test_every_fault_has_a_name_of_its_own() -> None:
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)


def test_code_that_has_changed_is_named_and_nothing_is_written(tmp_path: Path) -> None:
    (tmp_path / "some.py").write_text("value = 1\n")
    with pytest.raises(ValueError, match=r"some\.py says 0 times, instead of once:\nvalue = 2\n"):
        Edit("some.py", "value = 2", "value = 3").put_back(tmp_path)
    assert (tmp_path / "some.py").read_text() == "value = 1\n"
