"""The examples of the description are what a real hub says: asked with each request, it gives each answer."""

import re
from typing import Any

import aiohttp
import pytest

from envhub.config import HubConfig
from envhub.endpoints import ENDPOINTS, Endpoint
from envhub.examples import example
from envhub.serving import serving

BY_NAME = {endpoint.name: endpoint for endpoint in ENDPOINTS}
SHOWN = next(parameter.example for parameter in BY_NAME["step"].parameters)
"""The session of the examples."""
FIRST, LAST = ("open", "step"), "close"


async def asked(http: aiohttp.ClientSession, endpoint: Endpoint, session: str) -> Any:
    """The answer to the example's request; the session of the examples is the one that is open."""
    path = endpoint.path
    for parameter in endpoint.parameters:
        path = path.replace(f"{{{parameter.name}}}", parameter.example)
    query = example(endpoint.query) if endpoint.query else {}
    body = example(endpoint.body) if endpoint.body else None
    async with http.request(
        endpoint.method,
        path.replace(SHOWN, session),
        params={key: ",".join(map(str, v)) if isinstance(v, list) else v for key, v in query.items()},
        json=replaced(body, session),
    ) as response:
        assert response.status == 200, await response.text()
        return await response.json()


def replaced(value: Any, session: str) -> Any:
    if isinstance(value, dict):
        return {key: replaced(inner, session) for key, inner in value.items()}
    if isinstance(value, list):
        return [replaced(inner, session) for inner in value]
    return session if value == SHOWN else value


def is_same(shown: Any, real: Any) -> bool:
    """Equal, where `...` in a text or in a list of texts stands for anything."""
    if isinstance(shown, dict):
        return (
            isinstance(real, dict)
            and set(shown) == set(real)
            and all(is_same(shown[key], real[key]) for key in shown)
        )
    if isinstance(shown, list) and "..." in shown:
        return is_same("\x00".join(shown), "\x00".join(real))
    if isinstance(shown, list):
        return len(shown) == len(real) and all(map(is_same, shown, real))
    if isinstance(shown, str):
        parts = [re.escape(part) for part in shown.split("...")]
        return re.fullmatch(".*".join(parts), real, re.DOTALL) is not None
    return bool(shown == real) and type(shown) is type(real)


async def test_a_real_hub_gives_every_answer_that_is_shown() -> None:
    session = SHOWN
    async with (
        serving(HubConfig(environments=("textcraft",))) as server,
        aiohttp.ClientSession(server.url) as http,
    ):
        described = [name for name, endpoint in BY_NAME.items() if not isinstance(endpoint.answer, str)]
        for name in sorted(described, key=lambda name: (name not in FIRST, name == LAST)):
            endpoint = BY_NAME[name]
            answer = await asked(http, endpoint, session)
            session = answer.get("session", session)
            assert isinstance(endpoint.answer, type)
            shown = replaced(example(endpoint.answer), session)
            assert is_same(shown, answer), f"{name}\nshown {shown}\nreal  {answer}"


@pytest.mark.parametrize(
    ("shown", "real", "same"),
    [
        ("a ... c", "a b\nc", False),
        ("a ... c", "a b\n c", True),
        ({"a": 1}, {"a": 1, "b": 2}, False),
        ([1, 2], [1], False),
        (1, True, False),
        (["...", "b", "..."], ["a", "b", "c"], True),
        (["...", "b", "..."], ["a", "c"], False),
    ],
)
def test_what_is_left_out_is_marked(shown: Any, real: Any, same: bool) -> None:
    assert is_same(shown, real) is same
