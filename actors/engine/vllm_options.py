"""How vLLM is started: its arguments and its process environment, on a CPU and on CUDA."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psutil
import torch

from actors.config import EngineConfig
from actors.engine.model_folder import ModelFolder
from common.errors import PreflightError
from common.model_config import LoraConfig

_PROCESS_BYTES = 1 << 30
"""What an engine process takes besides weights and cache: Python, torch and vLLM themselves."""

MAX_ADAPTERS = 4
"""Adapters that requests in flight may use at once; a request of yet another waits for a place."""
_ADAPTER_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""The ranks that vLLM can make room for."""


def arguments(folder: ModelFolder, config: EngineConfig, lora: LoraConfig) -> dict[str, Any]:
    """Keyword arguments of `AsyncEngineArgs`."""
    memory: dict[str, Any] = {"gpu_memory_utilization": config.gpu_memory_utilization}
    if not torch.cuda.is_available():
        memory = {"kv_cache_memory_bytes": config.kv_cache_bytes}
    return memory | {
        "model": str(folder.path),
        "dtype": config.dtype,
        "max_model_len": config.max_model_len,
        "max_num_seqs": config.max_num_seqs,
        "block_size": config.block_size,
        "enforce_eager": config.is_eager,
        "enable_prefix_caching": True,
        "logprobs_mode": "processed_logprobs",
        "generation_config": "vllm",
        "worker_extension_cls": "actors.engine.vllm_extension.WeightExtension",
        **adapter_arguments(lora),
        "disable_log_stats": True,
        "use_tqdm_on_load": False,
        # Actors with one common seed would sample the members of a group alike.
        "seed": secrets.randbits(31),
    }


def adapter_arguments(lora: LoraConfig) -> dict[str, Any]:
    """Room for adapters of that rank; none when adapters are off."""
    if not lora.is_on:
        return {}
    return {
        "enable_lora": True,
        "max_loras": MAX_ADAPTERS,
        "max_cpu_loras": 2 * MAX_ADAPTERS,
        "max_lora_rank": next(rank for rank in _ADAPTER_RANKS if rank >= lora.rank),
    }


def environment(config: EngineConfig) -> dict[str, str]:
    """Environment variables under which vLLM is imported and its processes are spawned."""
    values = {
        "VLLM_LOGGING_LEVEL": "ERROR",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_ENGINE_READY_TIMEOUT_S": str(max(1, int(config.start_s))),
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        # vLLM would fork, and a process that has spoken to CUDA, as `check_memory` may, must not.
        "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
    }
    if torch.cuda.is_available():
        return values
    values |= {
        "OMP_NUM_THREADS": str(config.num_threads),
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    }
    if config.is_eager:
        # An eager engine still compiles one small function, which needs a C++ compiler and takes seconds.
        values["TORCHDYNAMO_DISABLE"] = "1"
    return values


@contextmanager
def spawning(config: EngineConfig) -> Iterator[None]:
    """Processes started by this thread in the body get the engine's environment and cores.

    Of `cpu_cores` they get those that this thread may use: one of several actors has only its share of them.
    Variables that the user has set stay as they are; afterwards ours are gone again, and so is the pinning.
    """
    added = {name: value for name, value in environment(config).items() if name not in os.environ}
    os.environ.update(added)
    cores = os.sched_getaffinity(0)
    try:
        if config.cpu_cores:
            os.sched_setaffinity(0, cores & set(config.cpu_cores) or config.cpu_cores)
        yield
    finally:
        os.sched_setaffinity(0, cores)
        for name in added:
            del os.environ[name]


def check_memory(folder: ModelFolder, config: EngineConfig) -> None:
    """PreflightError when a CPU engine cannot fit into the memory that is free now; says what it needs."""
    if torch.cuda.is_available():
        return
    needed = 2 * folder.num_bytes + config.kv_cache_bytes + _PROCESS_BYTES
    available = psutil.virtual_memory().available
    if needed > available:
        raise PreflightError(
            f"the engine for {folder.path} needs about {needed / 2**30:.1f} GiB "
            f"(engine.kv_cache_bytes = {config.kv_cache_bytes}), {available / 2**30:.1f} GiB are free"
        )
