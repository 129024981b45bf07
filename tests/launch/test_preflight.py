"""What cannot run is refused before it begins: one clear line, and nothing written."""

import re
import socket
from pathlib import Path

import pytest

from common.errors import ConfigurationError, PreflightError
from launch import keys, machine, preflight
from tests.launch.making import run_config


def test_a_run_that_can_run_passes_and_leaves_no_trace(tmp_path: Path) -> None:
    preflight.check(run_config(tmp_path / "runs"))
    assert list(tmp_path.iterdir()) == []


def test_a_missing_model_folder_is_named(tmp_path: Path) -> None:
    config = run_config(tmp_path, model={"source": "path", "path": str(tmp_path / "nowhere")})
    with pytest.raises(PreflightError, match=r"model\.path = .*nowhere.*: no such folder"):
        preflight.check(config)


def test_a_model_folder_without_weights_is_named(tmp_path: Path) -> None:
    for name in ("config.json", "tokenizer.json"):
        (tmp_path / name).write_text("{}")
    config = run_config(tmp_path, model={"source": "path", "path": str(tmp_path)})
    with pytest.raises(PreflightError, match=r"has no weights \(\*\.safetensors\)"):
        preflight.check(config)


def test_an_unknown_environment_is_answered_with_the_nearest_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"did you mean 'textcraft'"):
        preflight.check(run_config(tmp_path, tasks={"environment": "texcraft"}))


def test_an_occupied_port_is_named(tmp_path: Path) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        with pytest.raises(PreflightError, match=rf"hub\.port = {port}: 127\.0\.0\.1:{port} cannot be bound"):
            preflight.check(run_config(tmp_path, hub={"port": port}))


@pytest.mark.parametrize("host", ["no.such.host.invalid", "::1", "203.0.113.1", "two..dots\u00e4"])
@pytest.mark.parametrize("section", ["hub", "bus"])
def test_a_host_that_cannot_be_listened_on_is_named_even_when_every_port_is_open(
    tmp_path: Path, section: str, host: str
) -> None:
    keys = {"bus": {"host": host, "keys": "keys"}}
    config = run_config(tmp_path / "runs", **(keys if section == "bus" else {section: {"host": host}}))
    with pytest.raises(
        PreflightError, match=rf"{section}\.host = '{re.escape(host)}': cannot be bound \(\w.*\)"
    ):
        preflight.check(config)
    assert list(tmp_path.iterdir()) == []


def test_keys_that_cannot_be_used_are_named_before_anything_starts(tmp_path: Path) -> None:
    missing = run_config(tmp_path / "runs", bus={"keys": str(tmp_path / "none")})
    with pytest.raises(ConfigurationError, match=r"bus\.keys = '.*none': no such folder"):
        preflight.check(missing)
    keys.make(tmp_path / "keys", ["host1"])
    (tmp_path / "keys" / "learner" / "own.key_secret").chmod(0o644)
    open_to_all = run_config(tmp_path / "runs", bus={"keys": str(tmp_path / "keys" / "learner")})
    with pytest.raises(ConfigurationError, match=r"own\.key_secret: mode 0644 lets others in"):
        preflight.check(open_to_all)


def test_two_channels_on_one_port_are_a_mistake(tmp_path: Path) -> None:
    config = run_config(tmp_path, bus={"ledger_port": 45678, "policy_port": 45678})
    with pytest.raises(
        ConfigurationError, match=r"bus\.policy_port = 45678: bus\.ledger_port has the same port"
    ):
        preflight.check(config)


def test_a_full_disk_and_full_shared_memory_are_named_with_what_is_needed(tmp_path: Path) -> None:
    config = run_config(tmp_path)
    with pytest.raises(
        PreflightError, match=r"no space: models.* need about .* GiB in .*, 0\.00 GiB are free"
    ):
        preflight.check_space(config, lambda _: 1 << 16)
    with pytest.raises(PreflightError, match=r"no space: weights in shared memory need .* GiB in /dev/shm"):
        preflight.check_space(config, lambda path: 0 if path == machine.SHARED_MEMORY else 1 << 40)


def test_a_run_too_large_for_this_disk_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PreflightError, match="no space"):
        preflight.check_space(run_config(tmp_path, learner={"steps": 10**12}))


def test_a_file_in_the_place_of_the_run_directory_is_named(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("")
    with pytest.raises(PreflightError, match=r"run\.directory = .*runs is not a folder"):
        preflight.check(run_config(tmp_path / "runs"))


@pytest.mark.skipif(bool(machine.gpus()), reason="this machine has a GPU")
def test_a_gpu_that_is_asked_for_and_absent_is_named(tmp_path: Path) -> None:
    with pytest.raises(PreflightError, match="nvidia-smi shows 0 GPUs"):
        preflight.check(run_config(tmp_path, learner={"device": "cuda"}))


def test_cores_that_are_not_here_are_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigurationError, match=r"learner\.cpu_cores = \[4096\]: cores \[4096\] are not here"
    ):
        preflight.check(run_config(tmp_path, learner={"cpu_cores": [4096]}))


def test_wandb_online_without_a_key_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    with pytest.raises(PreflightError, match="WANDB_API_KEY is not set"):
        preflight.check(run_config(tmp_path, monitor={"wandb": "online"}))


def test_flash_attention_without_a_gpu_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "gpus", tuple)
    with pytest.raises(PreflightError, match=r"learner\.attention = 'flash': needs a GPU \(found: 0\)"):
        preflight.check(run_config(tmp_path, learner={"attention": "flash"}))


def test_a_missing_package_is_named_with_who_needs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "has_module", lambda module: module != "vllm")
    with pytest.raises(PreflightError, match=r"vllm is missing and actor\.engine\.kind = 'vllm' needs it"):
        preflight.check(run_config(tmp_path))
