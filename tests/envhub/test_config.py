"""The hub's settings: a mistake is one line that says what is allowed."""

from typing import Any

import pytest

from common.config import validate
from common.errors import ConfigurationError
from envhub.config import HubConfig


@pytest.mark.parametrize(
    "url",
    [
        "",
        "127.0.0.1:36001",
        "ftp://x",
        "http://",
        "http://:80",
        "http:///path",
        "http://x:y",
        "http://x:0",
        "http://x:999999",
        "http://x y",
        " http://x",
        "http://[",
    ],
)
def test_a_backend_that_is_no_url_is_told_what_one_is(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        validate(HubConfig, {"backends": {"maze": url}})
    assert str(caught.value) == (
        f"backends.maze = {url!r}: allowed is http://HOST:PORT or https://HOST:PORT, with or without a path"
    )


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:36001", "https://a.example/maze/", "http://[::1]:80", "http://any:token@x:1"]
)
def test_a_backend_is_a_url_as_it_was_written(url: str) -> None:
    assert validate(HubConfig, {"backends": {"maze": url}}).backends["maze"] == url


@pytest.mark.parametrize("name", ["E", "a", "textcraft2"])
def test_an_unknown_dialect_is_told_which_there_are(name: str) -> None:
    with pytest.raises(
        ConfigurationError, match=f"^dialects.maze = '{name}': unknown; allowed are A, B, C, D, "
    ):
        validate(HubConfig, {"dialects": {"maze": name}})


def test_every_dialect_is_known_by_its_name() -> None:
    given: dict[str, Any] = {"a": "A", "b": "B", "c": "C", "d": "D", "e": "textcraft", "f": "searchqa"}
    assert validate(HubConfig, {"dialects": given}).dialects == given
    with pytest.raises(ConfigurationError, match=r"^dialects\.maze = '': "):
        validate(HubConfig, {"dialects": {"maze": ""}})


def test_a_body_is_never_larger_than_32_mib() -> None:
    assert validate(HubConfig, {"max_body_bytes": 32 << 20}).max_body_bytes == 32 << 20
    with pytest.raises(ConfigurationError, match=r"^max_body_bytes = .*33554432"):
        validate(HubConfig, {"max_body_bytes": (32 << 20) + 1})
