"""Every setting that can be given is read by the code. In AgentGym-RL many are read by nothing: `ppo_epochs`,
`ppo_inner_epochs`, `timeout`, `max_rounds`, `max_num_seqs`, `val_files`, `test_freq`, `warmup_style`.
"""

import ast
import importlib
import inspect
import re
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel

from actors.config import EngineConfig
from actors.engine.model_folder import ModelFolder
from actors.engine.vllm_options import arguments
from common.config import Section
from common.messages import Sampling
from common.model_config import LoraConfig
from learner.curriculum import POOLS
from tests.learner.torch_side import tiny_folder

ROOT = Path(__file__).parents[2]
PACKAGES = ("actors", "common", "envhub", "launch", "learner")
FILES = sorted(file for package in PACKAGES for file in (ROOT / package).rglob("*.py"))
ROLES = ("launch.config", "learner.export", "learner.offline.sft")
"""Importing these makes every section known."""

NAMED = {
    node.value
    for file in (ROOT / "launch" / "plan").glob("*.py")
    for node in ast.walk(ast.parse(file.read_text()))
    if isinstance(node, ast.Constant) and isinstance(node.value, str)
}
BY_NAME = {("CurriculumConfig", pool) for pool in POOLS} | {("PlanSection", name) for name in NAMED}
"""Read as `getattr(section, name)`: pools, and figures of a plan, which the code names as texts."""
_UNKNOWN = re.compile(r'^(\S+?):(\d+): error: .*"(\w+)" has no attribute "(\w+)"', re.M)


def sections() -> list[type[BaseModel]]:
    """The sections of all roles; messages of the hub are `Section`s too, and no settings."""
    for module in ROLES:
        importlib.import_module(module)
    found, waiting = [Sampling], [*Section.__subclasses__()]
    while waiting:
        section = waiting.pop()
        waiting += section.__subclasses__()
        if section.__module__.partition(".")[0] in PACKAGES and section.__module__ != "envhub.bodies":
            found.append(section)
    return found


def is_validator(node: ast.AST) -> bool:
    """What refuses a value does not use it."""
    return isinstance(node, ast.FunctionDef) and any(
        "validator" in ast.unparse(decorator) for decorator in node.decorator_list
    )


def outside_validators(node: ast.AST) -> Iterator[ast.AST]:
    yield node
    for child in ast.iter_child_nodes(node):
        if not is_validator(child):
            yield from outside_validators(child)


def test_every_setting_has_a_name_that_the_code_reads() -> None:
    """At once, by the name alone; the slow test below tells fields of one name apart."""
    read = {
        node.attr
        for file in FILES
        for node in outside_validators(ast.parse(file.read_text()))
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)
    }
    settings = {(section.__name__, field) for section in sections() for field in section.model_fields}
    assert len(settings) > 200
    assert not {(section, field) for section, field in settings - BY_NAME if field not in read}


def plain_fields(section: type[BaseModel]) -> set[str]:
    """Its own fields, without those that hold sections: through these the others are reached."""
    names = {known.__name__ for known in sections()}
    return {
        name
        for name in inspect.get_annotations(section)
        if not names & set(re.findall(r"\w+", str(section.model_fields[name].annotation)))
    }


def without_fields(file: Path, fields: dict[str, set[str]]) -> str:
    """The module with those fields of its classes blanked out; every line keeps its number."""
    lines = file.read_text().split("\n")
    for node in ast.walk(ast.parse(file.read_text())):
        for item in node.body if isinstance(node, ast.ClassDef) else ():
            if (
                isinstance(item, ast.AnnAssign)
                and isinstance(item.target, ast.Name)
                and item.target.id in fields.get(node.name, ())  # type: ignore[attr-defined]
            ):
                lines[item.lineno - 1 : item.end_lineno] = [""] * ((item.end_lineno or 0) - item.lineno + 1)
    return "\n".join(lines)


def refusals(file: Path) -> set[int]:
    """The lines of its validators."""
    functions = (node for node in ast.walk(ast.parse(file.read_text())) if is_validator(node))
    return {n for f in functions for n in range(f.lineno, (f.end_lineno or 0) + 1)}  # type: ignore[attr-defined]


@pytest.mark.slow
def test_every_setting_of_every_section_is_read_somewhere(tmp_path: Path) -> None:
    """All of them are taken out of a copy, and mypy says who misses them. A minute."""
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    owned = {section.__name__: plain_fields(section) for section in sections()}
    places = {section.__module__ for section in sections()}
    for module in places:
        file = Path(module.replace(".", "/") + ".py")
        (tmp_path / file).write_text(without_fields(ROOT / file, owned))
    said = subprocess.run(
        [sys.executable, "-m", "mypy", "--cache-dir", str(tmp_path / "cache")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    ).stdout
    readers: dict[tuple[str, str], set[str]] = defaultdict(set)
    for file, line, section, field in _UNKNOWN.findall(said):
        if int(line) not in refusals(ROOT / file):
            readers[section, field].add(f"{file}:{line}")
    assert len(readers) > 150, said[-2000:]
    family = {
        s.__name__: {c.__name__ for c in sections() if issubclass(c, s) or issubclass(s, c)}
        for s in sections()
    }
    settings = {(section, field) for section, fields in owned.items() for field in fields} - BY_NAME
    assert not {(s, f) for s, f in settings if not any(readers[c, f] for c in family[s])}


def test_vllm_is_told_what_the_configuration_says(tmp_path: Path) -> None:
    """AgentGym-RL leaves out `max_model_len` and `max_num_seqs`: prompts too long become empty actions."""
    told = {"dtype": "bfloat16", "max_model_len": 96, "max_num_seqs": 3, "block_size": 16}
    made = arguments(ModelFolder(tiny_folder(tmp_path)), EngineConfig.model_validate(told), LoraConfig())
    assert {name: made[name] for name in told} == told
    assert made["enforce_eager"] is True
