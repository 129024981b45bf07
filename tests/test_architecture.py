"""The habits of this code, counted: sizes, broad excepts, ownerless tasks, unsafe decoding. No exemptions."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("actors", "common", "envhub", "launch", "learner", "benchmarks")
FILES = sorted(file for package in PACKAGES for file in (ROOT / package).rglob("*.py"))
TEST_FILES = sorted((ROOT / "tests").rglob("*.py"))

MAX_FILE_LINES = 300
MAX_FUNCTION_LINES = 60

MAY_SWALLOW = {"actors/actor.py", "launch/supervise.py"}
"""Where an episode is played and where a process is supervised: nowhere else does a broad except go on."""

UNSAFE_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "shelve", "marshal", "jsonpickle"}


UNSAFE_FUNCTIONS = {("yaml", "load"), ("os", "system"), ("os", "popen"), ("subprocess", "getoutput")}


def is_load_of_anything(node: ast.AST) -> bool:
    """`torch.load` that does not say that it reads weights and nothing else."""
    if not isinstance(node, ast.Call) or ast.unparse(node.func) != "torch.load":
        return False
    return not any(k.arg == "weights_only" and ast.unparse(k.value) == "True" for k in node.keywords)


def name_of(file: Path) -> str:
    return file.relative_to(ROOT).as_posix()


def nodes(file: Path) -> Iterator[ast.AST]:
    return ast.walk(ast.parse(file.read_text(), filename=str(file)))


every_file = pytest.mark.parametrize("file", FILES, ids=name_of)


@every_file
def test_a_file_is_at_most_300_lines(file: Path) -> None:
    assert len(file.read_text().splitlines()) <= MAX_FILE_LINES, "it holds two ideas: split it by idea"


@every_file
def test_a_function_is_at_most_60_lines(file: Path) -> None:
    long = {
        node.name: node.end_lineno - node.lineno + 1
        for node in nodes(file)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno is not None
        and node.end_lineno - node.lineno + 1 > MAX_FUNCTION_LINES
    }
    assert not long


def is_broad(handler: ast.ExceptHandler) -> bool:
    kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(kind is None or getattr(kind, "id", "") in ("Exception", "BaseException") for kind in kinds)


@every_file
def test_a_broad_except_always_raises_except_where_episodes_are_played_and_processes_supervised(
    file: Path,
) -> None:
    swallowing = [
        node.lineno
        for node in nodes(file)
        if isinstance(node, ast.ExceptHandler) and is_broad(node) and not isinstance(node.body[-1], ast.Raise)
    ]
    assert not swallowing or name_of(file) in MAY_SWALLOW


@every_file
def test_every_task_has_an_owner(file: Path) -> None:
    """Tasks belong to a TaskGroup: its `create_task` alone is allowed, not that of asyncio or of a loop."""
    ownerless = [
        node.lineno
        for node in nodes(file)
        if isinstance(node, ast.Attribute)
        and (
            node.attr == "ensure_future"
            or (
                node.attr == "create_task"
                and (isinstance(node.value, ast.Call) or getattr(node.value, "id", "") in ("asyncio", "loop"))
            )
        )
    ]
    assert not ownerless


@every_file
def test_nothing_received_is_ever_executed(file: Path) -> None:
    unsafe = [
        node.lineno
        for node in nodes(file)
        if (isinstance(node, ast.Import) and any(a.name.split(".")[0] in UNSAFE_MODULES for a in node.names))
        or (isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in UNSAFE_MODULES)
        or (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in ("eval", "exec", "compile", "__import__")
        )
        or (
            isinstance(node, ast.Attribute) and (getattr(node.value, "id", ""), node.attr) in UNSAFE_FUNCTIONS
        )
        or is_load_of_anything(node)
        or (isinstance(node, ast.keyword) and node.arg in ("allow_pickle", "trust_remote_code"))
        or (
            isinstance(node, ast.keyword)
            and node.arg == "shell"
            and getattr(node.value, "value", None) is True
        )
        or (
            isinstance(node, ast.keyword)
            and node.arg == "weights_only"
            and getattr(node.value, "value", 1) is False
        )
    ]
    assert not unsafe


def test_tests_use_fakes_that_keep_the_contract_and_never_wait_for_the_clock() -> None:
    for file in TEST_FILES:
        for node in nodes(file):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                modules = [node.module or ""]
            assert not {"unittest.mock", "mock", "pytest_mock"} & set(modules), name_of(file)
            if isinstance(node, ast.Attribute) and node.attr == "sleep":
                assert getattr(node.value, "id", "") not in ("time",), f"{name_of(file)}:{node.lineno} sleeps"


def test_every_package_has_tests() -> None:
    for package in PACKAGES[:-1]:
        assert list((ROOT / "tests" / package).rglob("test_*.py")), f"tests/{package} is empty"
