"""How the workers of pytest-xdist share the suite: a file stays together, and so do all real engines."""

from functools import lru_cache
from pathlib import Path

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

ROOT = Path(__file__).parents[1]


class EnginesTogether(LoadScopeScheduling):
    """Two vLLM engines at the same time would share one device."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return "engines" if starts_engines(file) else file


@lru_cache
def starts_engines(file: str) -> bool:
    """Whether something in the file is marked so."""
    return "pytest.mark.vllm" in (ROOT / file).read_text()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    """In place of what `--dist` says."""
    return EnginesTogether(config, log)
