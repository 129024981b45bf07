"""The command `pronghorn`: reads the arguments, then hands over to the part that was asked for.

Starts fast: nothing heavier than argparse is imported before it is known what is wanted.
"""

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from common.errors import PronghornError
from launch.data_arguments import add_data
from launch.plan.arguments import add_plan

ROLES = {"hub": "envhub", "actor": "actors", "relay": "actors.relay"}
"""Commands that become one Python module in this terminal; `learner` too, by way of torchrun."""

COMMANDS = {
    "run": "launch.pipeline",
    "local": "launch.local",
    "sft": "launch.offline",
    "dpo": "launch.offline",
    "evol": "launch.evol",
    "eval": "launch.evaluate",
    "compare": "launch.compare",
    "data": "launch.data",
    "doctor": "launch.doctor",
    "fsck": "launch.fsck",
    "envs": "launch.envs",
    "replay": "launch.replay",
    "plan": "launch.plan.command",
    "keys": "launch.keys",
}
"""Commands that call `main(options, overrides) -> exit code` of a module."""


def parser() -> argparse.ArgumentParser:
    """The arguments of `pronghorn`; overrides of the form --section.field=value are taken out before."""
    root = argparse.ArgumentParser(
        prog="pronghorn",
        description="Asynchronous reinforcement learning of LLM agents.",
        epilog="Every command that takes CONFIG takes --section.field=value after it.",
    )
    commands = root.add_subparsers(dest="command", required=True, metavar="COMMAND")

    for name, text in (
        ("run", "train: the whole system on this machine; run it again to resume"),
        ("local", "the same in one process, for debugging"),
    ):
        commands.add_parser(name, help=text).add_argument(
            "config", nargs="+", type=Path, metavar="CONFIG.toml", help="read left to right, the later wins"
        )

    for name, text in (
        ("hub", "the environment server alone"),
        ("actor", "one actor alone"),
        ("relay", "on a host of actors alone: fetches each policy once, for all there"),
        ("learner", "the learner alone"),
    ):
        commands.add_parser(name, help=text, add_help=False, prefix_chars="\0").add_argument(
            "rest", nargs=argparse.REMAINDER, metavar="CONFIG.toml"
        )

    _add_offline(commands)

    _add_evaluation(commands)

    add_data(commands)

    add_plan(commands)

    envs = commands.add_parser("envs", help="which environments there are, and how to get the missing ones")
    envs.add_argument("names", nargs="*", metavar="NAME", help="default: all of Pronghorn's own")
    envs.add_argument("--json", action="store_true", help="for programs")

    _add_keys(commands)

    fsck = commands.add_parser("fsck", help="whether the ledger of a run kept its promises")
    fsck.add_argument("run", type=Path, metavar="RUN", help="the run's folder")
    fsck.add_argument("--json", action="store_true", help="for programs")

    replay = commands.add_parser(
        "replay", help="feed a run's recorded batches to a fresh learner and compare every number"
    )
    replay.add_argument("run", type=Path, metavar="RUN", help="the folder of a run")
    replay.add_argument("--steps", default="", metavar="A:B", help="only these; default: all")
    replay.add_argument("--json", type=Path, metavar="FILE", help="write the comparison there too")

    commands.add_parser("doctor", help="what this machine has, and what will be used")
    commands.add_parser("version", help="the release")
    return root


def _add_offline(commands: Any) -> None:
    """The trainers that need no learner's actors."""
    sft = commands.add_parser("sft", help="supervised learning on demonstrations: the run's warm start")
    dpo = commands.add_parser("dpo", help="preference optimization on pairs of trajectories")
    evol = commands.add_parser(
        "evol", help="AgentEvol: explore, keep what was rewarded, train the base, again"
    )
    for command in (sft, dpo, evol):
        command.add_argument("config", nargs="+", type=Path, metavar="CONFIG.toml")
    sft.add_argument(
        "--data",
        type=Path,
        metavar="FILE",
        help="AgentTraj rows; default: sft.num_demonstrations by the expert",
    )
    dpo.add_argument("--pairs", type=Path, metavar="FILE", help="pairs that were found before")
    dpo.add_argument(
        "--data",
        type=Path,
        metavar="FILE",
        action="append",
        default=[],
        help="AgentTraj rows to find pairs in, the expert's and others with their reward; may be repeated",
    )
    dpo.add_argument(
        "--ledger",
        type=Path,
        metavar="FILE",
        help="a run's ledger to find pairs in; default: this run's, or its AgentEvol's",
    )
    dpo.add_argument(
        "--model", type=Path, metavar="FOLDER", help="what to begin with, the reference; default: policy zero"
    )


def _add_evaluation(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """The arguments of `eval` and `compare`."""
    evaluate = commands.add_parser("eval", help="avg@k and pass@k on held-out tasks, with their intervals")
    evaluate.add_argument("config", nargs="+", type=Path, metavar="CONFIG.toml")
    who = evaluate.add_mutually_exclusive_group()
    who.add_argument(
        "--model",
        default="",
        metavar="FOLDER",
        help="a model folder; default: the run's final model, or what reinforcement learning began with: "
        "its warm start, or the model without one",
    )
    who.add_argument("--checkpoint", default="", metavar="RUN/checkpoints/step-N", help="a run's checkpoint")
    who.add_argument("--latest", default="", metavar="RUN", help="the newest weights of a run, live or not")
    who.add_argument("--api", default="", metavar="URL", help="an OpenAI-compatible server, up to /v1")
    evaluate.add_argument("--api-model", default="", metavar="NAME", help="which of the server's models")
    evaluate.add_argument("--price-in", type=float, metavar="MONEY", help="per million tokens read")
    evaluate.add_argument("--price-out", type=float, metavar="MONEY", help="per million tokens written")
    evaluate.add_argument(
        "--samples", type=int, metavar="K", help="plays per task; default evaluation.samples"
    )
    evaluate.add_argument("--greedy", action="store_true", help="always the likeliest token")
    evaluate.add_argument(
        "--out", type=Path, metavar="FOLDER", help="of the results; default: evaluations/ in the run's folder"
    )
    evaluate.add_argument("--resume", action="store_true", help="play only what the folder does not hold yet")

    compare = commands.add_parser("compare", help="whether two evaluations of the same tasks differ")
    compare.add_argument("first", type=Path, metavar="A", help="the folder of an evaluation")
    compare.add_argument("second", type=Path, metavar="B", help="another")
    compare.add_argument("--out", type=Path, metavar="FILE", help="write it as JSON too")
    compare.add_argument("--seed", type=int, default=0, help="of the bootstrap")


def _add_keys(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """The arguments of `keys`."""
    keys = commands.add_parser("keys", help="keys for a bus over several hosts: made, listed, taken back")
    keys.add_argument(
        "folder", type=Path, metavar="FOLDER", help="where they are kept; learner/ and hosts/HOST/"
    )
    keys.add_argument("hosts", nargs="*", metavar="HOST", help="hosts to add; who has keys keeps them")
    keys.add_argument("--list", action="store_true", help="names and fingerprints")
    keys.add_argument("--rotate", metavar="HOST", help="new keys for one host, or for `learner`")
    keys.add_argument("--revoke", metavar="HOST", help="admit a host no more")


def split_overrides(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Ordinary arguments, and those of the form --section.field=value."""
    overrides = [a for a in arguments if a.startswith("--") and "." in a.partition("=")[0]]
    return [a for a in arguments if a not in overrides], overrides


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; a PronghornError becomes one line on stderr and its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    # As with `python -m`: environments of one's own are found in the folder where the command is typed.
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    try:
        return _dispatch(given)
    except PronghornError as error:
        print(f"pronghorn: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("pronghorn: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _dispatch(given: list[str]) -> int:
    if given and given[0] in (*ROLES, "learner"):
        _become(given[0], given[1:])
    ordinary, overrides = split_overrides(given)
    options = parser().parse_args(ordinary)
    if options.command == "version":
        from common.version import __version__

        print(f"pronghorn {__version__}")
        return 0
    return int(importlib.import_module(COMMANDS[options.command]).main(options, overrides))


def _become(role: str, rest: list[str]) -> None:
    """Replace this process by the role's module, with the same terminal and signals."""
    if role != "learner" or {"-h", "--help"} & set(rest):
        module = ROLES.get(role, "learner")
        os.execv(sys.executable, [sys.executable, "-m", module, *rest])
    from common.config import load
    from launch.config import RunConfig
    from launch.roles import learner_arguments, learner_environment

    files, overrides = split_overrides(rest)
    config = load(RunConfig, [Path(file) for file in files if not file.startswith("--")], overrides)
    arguments = learner_arguments(config.learner, config.supervision.learner_stop_s, config.run.name)
    os.environ |= learner_environment(config.learner)
    os.execv(sys.executable, [sys.executable, *arguments, *rest])


if __name__ == "__main__":
    sys.exit(main())
