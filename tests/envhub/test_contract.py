"""The contract that authors run: the example and the template keep it, and every broken promise is found."""

import re
from pathlib import Path

import pytest

from common.errors import PreflightError
from docs.sort_letters import SortLetters
from envhub import registry
from envhub.contract import CHECKS, ContractError, Subject, check
from envhub.contract.__main__ import main
from envhub.environment import Environment
from envhub.task import SPLITS, checked_split
from tests.contracts.subjects import missing
from tests.envhub.broken_worlds import BROKEN, Overpaying

DOCS = Path(__file__).parents[2] / "docs"
EXAMPLES = ("python:docs.sort_letters:SortLetters", "python:docs.environment_template:MyWorld")


@pytest.mark.parametrize("address", EXAMPLES)
def test_the_example_and_the_template_keep_the_contract(address: str) -> None:
    check(Subject(registry.environment(address), address))


def test_the_example_has_fewer_than_100_lines_and_stands_in_the_document() -> None:
    source = (DOCS / "sort_letters.py").read_text()
    assert len(source.splitlines()) < 100
    assert source in (DOCS / "environments.md").read_text()


def test_the_command_reports_every_promise(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["python:docs.sort_letters:SortLetters", "--played=5"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(CHECKS)
    assert all(line.endswith(": kept") for line in lines)


def test_the_command_goes_on_after_a_broken_promise(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([f"python:{Overpaying.__module__}:Overpaying", "--played=5"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(CHECKS)
    assert next(line for line in lines if "BROKEN" in line).startswith("the expert wins within the horizon")


def test_the_command_refuses_an_environment_that_cannot_be_imported(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["python:docs.nowhere:Nothing"]) == PreflightError.exit_code
    assert "cannot be imported" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("broken", "promise", "how"), BROKEN, ids=lambda value: getattr(value, "__name__", "")
)
def test_a_broken_promise_is_found(broken: type[Environment], promise: str, how: str) -> None:
    subject = Subject(
        broken(),
        f"python:{broken.__module__}:{broken.__name__}",
        num_played=10,
        answer=lambda play: play.actions[-1].split()[-1],
    )
    with pytest.raises(ContractError, match=how):
        next(found for found in CHECKS if found.__name__ == promise)(subject)


def test_every_promise_has_been_seen_broken() -> None:
    assert {promise.__name__ for promise in CHECKS} == {promise for _, promise, _ in BROKEN}


def test_an_environment_without_an_expert_is_examined_by_its_hints() -> None:
    class Expertless(SortLetters):
        has_expert = False

    subject = Subject(Expertless(), num_played=10)
    check(subject)
    assert any(not play.results[-1].is_over for play in subject.plays)


def test_the_document_counts_the_tasks_of_every_environment() -> None:
    text = (DOCS / "environments.md").read_text()
    counts = dict(re.findall(r"^\| `(\w+)` \| (\d+ / \d+ / \d+) \|", text, re.MULTILINE))
    for name in registry.names():
        assert f"\n| `{name}` | " in text
        if name in counts and not missing(name):
            tasks = registry.environment(name).tasks
            assert counts[name] == " / ".join(str(len(tasks(checked_split(split)))) for split in SPLITS), name
