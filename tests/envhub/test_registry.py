"""Names of environments: what is mistyped or cannot be made is told in one line, never as a traceback."""

from pathlib import Path

import pytest

from common.errors import ConfigurationError, PreflightError
from envhub import registry

BROKEN = "python:tests.envhub.adapters.broken"


def refusal(name: str, kind: type[Exception]) -> str:
    with pytest.raises(kind) as refused:
        registry.environment(name)
    assert type(refused.value) is kind
    told = str(refused.value)
    assert len(told.splitlines()) == 1
    return told


@pytest.mark.parametrize("scheme", ["python", "gymnasium", "openenv"])
@pytest.mark.parametrize("place", [":Y", ".x:Y", "..:Y", "a..b:Y", "a b:Y", "\ud800:Y", "a\x00b:Y", "a\nb:Y"])
def test_a_place_that_is_no_module_is_a_mistake(scheme: str, place: str) -> None:
    assert "is no module; write " in refusal(f"{scheme}:{place}", ConfigurationError)


@pytest.mark.parametrize(
    ("place", "told"),
    [
        ("os:system", "os has no class 'system'"),
        ("os:nothing", "os has no class 'nothing'"),
        ("os", "os has no class ''; write python:package.module:Class"),
        ("builtins:dict", "dict is no Environment: it does not define indexed, instructions, reset, task"),
        ("docs.sort_letters:SortLetters?size=3", "is made without arguments"),
    ],
)
def test_a_class_that_is_no_environment_is_a_mistake(place: str, told: str) -> None:
    assert told in refusal(f"python:{place}", ConfigurationError)


@pytest.mark.parametrize(
    ("name", "kind", "told"),
    [
        (
            "Unfinished",
            ConfigurationError,
            "it does not define functions, horizon, instructions, name, reset, task, tasks, vocabulary",
        ),
        ("Nameless", ConfigurationError, "it does not define functions, has_expert, horizon, name, source"),
        ("Sized", ConfigurationError, "Sized must be made without arguments; it needs size, colour"),
        ("Breaking", PreflightError, r"cannot be made: KeyError: 'first line\nsecond line'"),
    ],
)
def test_a_class_tells_what_it_lacks(name: str, kind: type[Exception], told: str) -> None:
    pytest.importorskip("gymnasium", reason="pip install gymnasium")
    assert told in refusal(f"{BROKEN}:{name}", kind)


def test_a_package_that_is_missing_is_told_with_its_command() -> None:
    assert "pip install 'no-such'" in refusal("python:no_such.place:World", PreflightError)


def test_a_module_that_breaks_while_it_is_imported_is_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "torn_world.py").write_text("raise OSError('no\\nworld')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    for scheme in ("python", "gymnasium"):
        told = refusal(f"{scheme}:torn_world:World", PreflightError)
        assert told.endswith("cannot be made: OSError: no world")
