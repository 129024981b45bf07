"""`python -m envhub.contract NAME`: which promises the environment of that name keeps; 1 when one is broken.

NAME is the registry's, such as `textcraft` or `python:my.module:MyEnvironment`.
"""

import argparse
import sys

from common.errors import PronghornError
from envhub import registry
from envhub.contract.checks import CHECKS
from envhub.contract.processes import shown
from envhub.contract.subject import ContractError, Subject


def main(arguments: list[str]) -> int:
    """One line per promise; with `--shown N` the digest of what N tasks of every split show, and no more."""
    parser = argparse.ArgumentParser("python -m envhub.contract", description=__doc__)
    parser.add_argument("name")
    parser.add_argument("--played", type=int, default=50, metavar="N", help="tasks of each split to play")
    parser.add_argument("--shown", type=int, default=0, metavar="N", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    try:
        environment = registry.environment(given.name)
    except PronghornError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    if given.shown:
        sys.stdout.write(f"{shown(environment, given.shown)}\n")
        return 0
    return _report(Subject(environment, given.name, num_played=given.played))


def _report(subject: Subject) -> int:
    num_broken = 0
    for promise in CHECKS:
        said = "kept"
        try:
            promise(subject)
        except ContractError as broken:
            said, num_broken = f"BROKEN: {broken}", num_broken + 1
        sys.stdout.write(f"{promise.__name__.replace('_', ' ')}: {said}\n")
    return int(num_broken > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
