"""What every environment promises, as checks that an author runs on a class of one's own.

    from envhub.contract import Subject, check

    def test_my_environment_keeps_the_contract() -> None:
        check(Subject(MyEnvironment(), address="python:my.module:MyEnvironment"))

    python -m envhub.contract python:my.module:MyEnvironment

`check` raises ContractError, an AssertionError, with the first promise that is broken; `CHECKS` are the
promises one by one. How much is played, and what an environment need not promise, stands in `Subject`.
"""

from envhub.contract.checks import CHECKS, check
from envhub.contract.play import Play, Turn
from envhub.contract.processes import shown
from envhub.contract.subject import ContractError, Subject, digest

__all__ = ["CHECKS", "ContractError", "Play", "Subject", "Turn", "check", "digest", "shown"]
