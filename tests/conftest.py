"""How the workers of pytest-xdist share the suite: a file stays together, and so do all real engines."""

from collections.abc import Sequence

import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """Give every test the group that `--dist loadgroup` goes by; two vLLM engines would share one device."""
    for item in items:
        is_engine = item.get_closest_marker("vllm") is not None
        item.add_marker(pytest.mark.xdist_group("engines" if is_engine else item.nodeid.partition("::")[0]))
