"""How each part of a run is started: command line, log file, threads and cores, time to stop."""

import math
import os
import sys
from collections.abc import Sequence

from common.address import interface_of, own_address, resolve
from launch import machine
from launch.config import RunConfig
from launch.processes import Command
from learner.config import LearnerConfig

RENDEZVOUS = "learner.rendezvous"
STANDALONE = ["--standalone", "--local-addr", "127.0.0.1"]
"""All ranks are here. The address keeps torchrun from asking for this host's name, which may not resolve."""

TORCHRUN_LEAVE_S = 5.0
"""What torchrun needs to leave once its ranks have; it must not be killed before it can kill them."""


def learner_arguments(learner: LearnerConfig, stop_s: float, run: str = "run") -> list[str]:
    """What follows `python` to start all ranks of the learner on this host.

    torchrun passes a signal on and kills ranks that live `stop_s` later, in whole seconds, rounded up.
    With several hosts it meets the others at `learner.rendezvous` as the rendezvous of `run`. PreflightError
    when there is no way there.
    """
    if learner.num_hosts == 1:
        return [*_torchrun(learner.num_ranks, stop_s, STANDALONE), "-m", "learner"]
    own = own_address(learner.rendezvous_address[0], RENDEZVOUS)
    # Not left to torchrun, which asks the resolver for this host's name: there may be none.
    leads = str(own == resolve(learner.rendezvous_address[0], RENDEZVOUS)).lower()
    meeting = ["--nnodes", str(learner.num_hosts), "--rdzv-backend", "c10d", "--rdzv-id", run]
    meeting += ["--rdzv-endpoint", learner.rendezvous, "--rdzv-conf", f"is_host={leads}", "--local-addr", own]
    return [*_torchrun(learner.num_ranks, stop_s, meeting), "-m", "learner"]


def learner_environment(learner: LearnerConfig) -> dict[str, str]:
    """Variables for all ranks on this host: the interface that leads to the others, unless one is given."""
    if learner.num_hosts == 1:
        return {}
    name = interface_of(own_address(learner.rendezvous_address[0], RENDEZVOUS))
    variables = ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME")
    return {variable: name for variable in variables if name and variable not in os.environ}


def trainer_arguments(module: str, num_ranks: int, stop_s: float) -> list[str]:
    """What follows `python` to start all ranks of an offline trainer; one rank needs no torchrun."""
    return [*(_torchrun(num_ranks, stop_s, STANDALONE) if num_ranks > 1 else []), "-m", module]


def _torchrun(num_ranks: int, stop_s: float, meeting: list[str]) -> list[str]:
    ranks = [*meeting, "--nproc-per-node", str(num_ranks)]
    # Before torch 2.12 there is no such option: ranks have 30 s there.
    if _torch_release() >= (2, 12):
        ranks += ["--shutdown-timeout", str(math.ceil(stop_s))]
    return ["-m", "torch.distributed.run", *ranks]


def _torch_release() -> tuple[int, ...]:
    """Major and minor version of the installed torch, without importing it."""
    return tuple(int(part) for part in machine.version("torch").split(".")[:2] if part.isdigit())


def hubs(config: RunConfig) -> list[Command]:
    """The run's own environment server; none where `hub.urls` names hubs that run already."""
    return [] if config.hub.urls else [_command(config, "hub", ["-m", "envhub"])]


def prepare(config: RunConfig) -> Command:
    """Makes the initial model in the run directory."""
    return _command(config, "prepare", ["-m", "learner.prepare"])


def sft(config: RunConfig) -> Command:
    """The warm start: supervised learning on the demonstrations."""
    return trainer(config, "sft")


def trainer(config: RunConfig, kind: str, after: Sequence[str] = (), name: str = "") -> Command:
    """All ranks of the offline trainer `learner.offline.KIND`; a single one has the machine to itself.

    On SIGINT it ends its step and keeps its state.
    """
    learner, stop_s = config.learner, config.supervision.learner_stop_s
    alone = config.actor.engine.num_threads if learner.num_ranks == 1 else 0
    return _command(
        config,
        name or kind,
        trainer_arguments(f"learner.offline.{kind}", learner.num_ranks, stop_s),
        list(after),
        num_threads=learner.num_threads + alone,
        stop_s=stop_s + TORCHRUN_LEAVE_S,
    )


def learner(config: RunConfig) -> Command:
    """All ranks of the learner; on SIGINT it writes a checkpoint and leaves."""
    return _command(
        config,
        "learner",
        learner_arguments(config.learner, config.supervision.learner_stop_s),
        num_threads=config.learner.num_threads,
        cpu_cores=config.learner.cpu_cores,
        stop_s=config.supervision.learner_stop_s + TORCHRUN_LEAVE_S,
    )


def actors(config: RunConfig) -> list[Command]:
    """All actors of this host; the cores of `actor.engine.cpu_cores` are dealt out among them."""
    engine, num_actors = config.actor.engine, config.actor.num_actors
    return [
        _command(
            config,
            f"actor-{index}",
            ["-m", "actors"],
            [f"--name=actor-{index}"],
            num_threads=engine.num_threads,
            cpu_cores=share_of_cores(engine.cpu_cores, index, num_actors),
        )
        for index in range(num_actors)
    ]


def share_of_cores(cores: tuple[int, ...], index: int, num_actors: int) -> tuple[int, ...]:
    """The cores of actor `index`: dealt like cards, shared only when there are fewer cores than actors."""
    if len(cores) < num_actors:
        return cores and (cores[index % len(cores)],)
    return cores[index::num_actors]


def _command(
    config: RunConfig,
    name: str,
    python: list[str],
    after: list[str] | None = None,
    *,
    num_threads: int = 1,
    cpu_cores: tuple[int, ...] = (),
    stop_s: float | None = None,
) -> Command:
    folder = config.run.folder
    return Command(
        name=name,
        arguments=(sys.executable, *python, str(folder.config), *(after or [])),
        log=folder.logs / f"{name}.log",
        num_threads=num_threads,
        cpu_cores=cpu_cores,
        stop_s=config.supervision.stop_s if stop_s is None else stop_s,
    )
