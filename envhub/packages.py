"""The packages that worlds are read from: frozen tasks are those of one version and of no other."""

from importlib import metadata
from importlib.util import find_spec

from common.errors import PreflightError


def needs(package: str, version: str, *, install: str = "") -> None:
    """PreflightError, with the command that helps, unless exactly this version is installed.

    Imports nothing. `install`: the command, where it is not `pip install package==version`.
    """
    found = _installed(package)
    if found != version:
        helps = install or f"pip install {package}=={version}"
        raise PreflightError(
            f"the package {package} is {found or 'missing'}; the tasks are those of {version}; run: {helps}"
        )


def _installed(package: str) -> str:
    """Its version; empty when it cannot be imported or was not installed as a package."""
    if find_spec(package.replace("-", "_")) is None:
        return ""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""
