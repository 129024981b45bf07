"""The main function of a role's process: configuration in, exit code out, one line for every mistake."""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

from common.config import load
from common.errors import PronghornError
from common.log import configure_logging
from common.run_config import RoleConfig

INTERRUPTED = 130
"""Exit code of what was asked to stop, and stopped in good order."""

ConfigT = TypeVar("ConfigT", bound=RoleConfig)


def run_role(
    role: str,
    kind: type[ConfigT],
    work: Callable[[ConfigT], int],
    *,
    process: str = "",
    arguments: Sequence[str] | None = None,
    shortcuts: Mapping[str, str] = MappingProxyType({}),
) -> int:
    """Read `CONFIG.toml... [--section.field=value...]` as a `kind` and do the role's `work`; the exit code.

    `process` names the process in its log (default: the role), `arguments` replace those of this process.
    `shortcuts` are short options by the setting that they stand for; with them no file is needed. A
    PronghornError becomes the line `pronghorn ROLE: ...` on stderr and its exit code.
    """
    parser = argparse.ArgumentParser(prog=f"pronghorn {role}")
    parser.add_argument("config", nargs="*" if shortcuts else "+", type=Path, metavar="CONFIG.toml")
    for name, setting in shortcuts.items():
        parser.add_argument(f"--{name}", help=f"--{setting}")
    known, overrides = parser.parse_known_args(arguments)
    for name, setting in shortcuts.items():
        if (value := getattr(known, name)) is not None:
            overrides.append(f"--{setting}={value}")
    try:
        config = load(kind, known.config, overrides)
        configure_logging(process or role)
        return work(config)
    except PronghornError as error:
        sys.stderr.write(f"pronghorn {role}: {error}\n")
        return error.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED
