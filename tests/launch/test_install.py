"""What `launch/install.sh` installs on which machine; pip and uv only write down what they are asked for."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

INSTALLER_THAT_WRITES_DOWN = """#!/usr/bin/env bash
if [ "${1:-}" = - ]; then exec "$PYTHON_PROPER" "$@"; fi
printf 'MAX_JOBS=%s %s\\n' "${MAX_JOBS:-}" "$*" >>"$RECORD"
[[ "$*" != *"$REFUSED"* ]] || { echo 'nvcc: no such program' >&2; exit 1; }
"""


@dataclass
class Installed:
    """What one installation asked for, and what it said."""

    record: list[str]
    told: "subprocess.CompletedProcess[str]"

    def index(self, part: str) -> int:
        return next(index for index, line in enumerate(self.record) if part in line)


def install(
    folder: Path, installer: str, extra: str, refused: str = "nothing", **environment: str
) -> Installed:
    programs = folder / "venv" / "bin"
    programs.mkdir(parents=True)
    for name in ("python", "uv"):
        (programs / name).write_text(INSTALLER_THAT_WRITES_DOWN)
        (programs / name).chmod(0o755)
    record = folder / "record"
    values = {"PRONGHORN_VENV": str(folder / "venv"), "PYTHON_PROPER": sys.executable, "RECORD": str(record)}
    inherited = {name: value for name, value in os.environ.items() if name != "MAX_JOBS"}
    offline = "can_reach() { false; }; pip_setting() { :; }"
    script = f"source launch/install.sh; {offline}; install_with_{installer} {extra}"
    told = subprocess.run(
        ["bash", "-c", script],
        cwd=ROOT, env=inherited | values | {"REFUSED": refused} | environment,
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    return Installed(record.read_text().splitlines(), told)


def test_pip_takes_torch_from_the_cpu_index_on_a_machine_without_gpu(tmp_path: Path) -> None:
    installed = install(tmp_path, "pip", "cpu")
    assert installed.told.returncode == 0
    assert (
        "--extra-index-url https://download.pytorch.org/whl/cpu -e .[cpu,dev,worlds]" in installed.record[0]
    )
    assert not any("flash-attn" in line for line in installed.record)


def test_pip_never_sees_the_cpu_index_on_a_machine_with_a_gpu(tmp_path: Path) -> None:
    installed = install(tmp_path, "pip", "gpu")
    assert installed.told.returncode == 0
    assert not any("download.pytorch.org" in line for line in installed.record)
    assert "torch==" in installed.record[0]
    assert "vllm==" in installed.record[0]


@pytest.mark.parametrize("installer", ["pip", "uv"])
def test_flash_attn_comes_after_torch_and_is_not_built_in_isolation(tmp_path: Path, installer: str) -> None:
    installed = install(tmp_path, installer, "gpu")
    built = installed.index("--no-build-isolation flash-attn>=")
    assert installed.index("dev") < built
    assert not any("flash-attn" in line for line in installed.record[:built])
    assert installed.record[built].startswith("MAX_JOBS=4 ")
    assert installed.told.stderr.startswith("pronghorn: installing flash-attn; without a wheel")
    assert installed.told.stderr.count("\n") == 1


@pytest.mark.parametrize("installer", ["pip", "uv"])
def test_a_flash_attn_that_cannot_be_built_is_one_line_and_no_obstacle(
    tmp_path: Path, installer: str
) -> None:
    installed = install(tmp_path, installer, "gpu", refused="flash-attn>=")
    assert installed.told.returncode == 0
    told = installed.told.stderr.splitlines()
    assert len(told) == 2
    assert told[1].startswith("pronghorn: flash-attn could not be installed; going on with")
    assert "nvcc: no such program" in (tmp_path / "venv" / "flash-attn.log").read_text()


@pytest.mark.parametrize("installer", ["pip", "uv"])
def test_packages_that_cannot_be_installed_end_the_installation(tmp_path: Path, installer: str) -> None:
    installed = install(tmp_path, installer, "gpu", refused="dev")
    assert installed.told.returncode == 1
    assert not any("flash-attn>=" in line for line in installed.record)


def test_the_number_of_compilers_at_a_time_is_the_users_to_choose(tmp_path: Path) -> None:
    installed = install(tmp_path, "uv", "gpu", MAX_JOBS="2")
    assert installed.record[-1].startswith("MAX_JOBS=2 ")


@pytest.mark.parametrize("installer", ["pip", "uv"])
def test_worlds_come_with_everything_and_alfworld_without_what_it_would_compile(
    tmp_path: Path, installer: str
) -> None:
    installed = install(tmp_path, installer, "cpu")
    assert ",worlds]" in installed.record[0]
    assert any("--no-deps alfworld==" in line for line in installed.record)
    assert not any("adapters" in line for line in installed.record)
