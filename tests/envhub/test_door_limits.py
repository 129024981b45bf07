"""What the hub's door allows a client: how often, how much, how slowly; and what it says to strangers."""

import asyncio
import os
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.config import validate
from common.errors import ConfigurationError
from envhub.config import TOKEN_VARIABLE, HubConfig
from envhub.endpoints import ENDPOINTS
from envhub.limits import BURST_S, MAX_CLIENTS, Buckets, client_of
from envhub.serving import serving
from envhub.tokens import own_token, tokens
from tests.envhub.browser import TASK, hub

GUESS: dict[str, Any] = {"environments": ["guess_number"]}
LONG = "a-token-of-more-than-sixteen-letters"


@given(waits=st.lists(st.floats(0, 3), max_size=60), rate=st.floats(0.1, 50))
def test_nobody_ever_gets_more_than_the_rate_and_one_burst(waits: list[float], rate: float) -> None:
    now = [0.0]
    buckets = Buckets(rate, lambda: now[0])
    taken = 0
    for wait_s in waits:
        now[0] += wait_s
        taken += buckets.take("one") == 0
    assert taken <= now[0] * rate + max(1.0, BURST_S * rate) + 1


def test_a_client_that_waits_as_long_as_it_is_told_is_let_in() -> None:
    now = [0.0]
    buckets = Buckets(0.5, lambda: now[0])
    assert buckets.take("one") == 0
    wait_s = buckets.take("one")
    assert 0 < wait_s <= 2
    assert buckets.take("other") == 0
    now[0] += wait_s
    assert buckets.take("one") == 0


def test_the_table_of_clients_does_not_grow() -> None:
    buckets = Buckets(1.0)
    for number in range(MAX_CLIENTS + 100):
        buckets.take(str(number))
    assert len(buckets) == MAX_CLIENTS


def test_a_network_of_version_6_is_one_client() -> None:
    assert client_of("2001:db8::1") == client_of("2001:db8::ffff:1") != client_of("2001:db8:0:1::1")
    assert client_of("10.0.0.1") != client_of("10.0.0.2")
    assert client_of("") == ""


async def test_calls_and_sessions_beyond_the_rate_are_answered_429_and_counted() -> None:
    async with hub(**GUESS, opens_per_s=0.5) as (_, browse):
        await browse.open()
        for path in ("/v1/sessions", "/guess_number/create", "/guess_number/reset"):
            async with browse._http.post(browse._url + path, json=TASK) as response:
                assert (response.status, response.headers["Retry-After"]) == (429, "2")
        assert (await browse("GET", "/v1/load"))[0] == 200
        assert 'refusals_total{code="rate_limited"} 3' in await browse.text("/metrics")
    async with hub(**GUESS, calls_per_s=1) as (_, browse):
        statuses = [(await browse("GET", "/v1/load"))[0] for _ in range(4)]
        assert statuses == [200, 200, 429, 429]


async def talk(url: str, sent: bytes) -> bytes:
    """What the hub answers to these bytes until it hangs up."""
    where = urlsplit(url)
    reader, writer = await asyncio.open_connection(where.hostname, where.port)
    writer.write(sent)
    try:
        async with asyncio.timeout(10):
            return await reader.read()
    finally:
        writer.close()


async def test_slow_and_endless_and_too_many_connections_are_cut() -> None:
    settings = {"idle_s": 0.3, "body_s": 0.2, "max_client_connections": 3, "max_headers": 8}
    async with hub(**GUESS, **settings) as (server, browse):
        # A head that never ends, a body that never ends, a body that is not what its head says.
        assert await talk(server.url, b"GET /healthz HTTP/1.1\r\nX-A: b\r\n") == b""
        head = b"POST /v1/step HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        assert b" 408 " in (await talk(server.url, head + b"Content-Length: 90\r\n\r\n{")).split(b"\n")[0]
        fields = b"".join(b"X-%d: 1\r\n" % number for number in range(20))
        assert b" 400 " in (await talk(server.url, b"GET / HTTP/1.1\r\n" + fields + b"\r\n")).split(b"\n")[0]
        long = b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\n\r\n"
        assert b" 400 " in (await talk(server.url, long)).split(b"\n")[0]
        # Three are open; the fourth is told to come back.
        where = urlsplit(server.url)
        open_now = [await asyncio.open_connection(where.hostname, where.port) for _ in range(3)]
        assert b"503" in await talk(server.url, b"")
        for reader, writer in open_now:
            writer.write_eof()
            await reader.read()
            writer.close()
        text = await browse.text("/metrics")
        for code in ("too_slow", "too_many_connections", "bad_request"):
            assert f'refusals_total{{code="{code}"}}' in text
        assert "pronghorn_hub_connections 1" in text


async def test_strangers_learn_nothing_whatever_they_ask() -> None:
    async with hub(token=LONG, strangers_per_s=0, cors_origins=["http://a.example"], **GUESS) as (_, browse):
        answers = set()
        paths = [endpoint.path for endpoint in ENDPOINTS if not endpoint.is_open]
        for path in (*paths, "/", "/nowhere", "/guess_number/create", "/guess_number//x", "/textcraft/step"):
            for method in ("GET", "POST", "DELETE", "OPTIONS", "HEAD", "PUT", "TRACE"):
                async with browse._http.request(method, browse._url + path, data=b"{") as response:
                    assert response.status == 401, (method, path)
                    assert response.headers["Server"] == "hub"
                    if method != "HEAD":
                        answers.add(await response.text())
        assert len(answers) == 1
        assert await browse("GET", "/healthz") == (200, {"status": "ok"})
        asked = {"Origin": "http://a.example"}
        for path in ("/guess_number/step", "/nowhere"):
            async with browse._http.options(browse._url + path, headers=asked) as response:
                assert (response.status, await response.text()) == (200, "")


async def test_a_stranger_who_guesses_is_slowed_and_nobody_else_is() -> None:
    async with hub(token=LONG, strangers_per_s=1, **GUESS) as (_, browse):
        wrong = {"headers": {"Authorization": "Bearer wrong"}}
        statuses = [(await browse("GET", "/v1/load", **wrong))[0] for _ in range(5)]
        assert statuses == [401, 401, 429, 429, 429]
        right = {"headers": {"Authorization": f"Bearer {LONG}"}}
        assert (await browse("GET", "/v1/load", **right))[0] == 200


def test_a_token_file_is_for_its_owner_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)
    file = tmp_path / "token"
    config = HubConfig(token_file=str(file))
    with pytest.raises(ConfigurationError, match="No such file"):
        tokens(config)
    file.write_text(f"{LONG}\nanother, third\n")
    file.chmod(0o640)
    with pytest.raises(ConfigurationError, match=r"its mode is 0640; only its owner may read it"):
        tokens(config)
    file.chmod(0o600)
    assert tokens(config) == (LONG, "another", "third")
    assert own_token(config) == LONG
    monkeypatch.setenv(TOKEN_VARIABLE, "first, second")
    assert own_token(config) == "first"
    monkeypatch.delenv(TOKEN_VARIABLE)
    file.write_text(" \n")
    with pytest.raises(ConfigurationError, match="has no token"):
        tokens(config)
    with pytest.raises(ConfigurationError, match="not a file"):
        tokens(HubConfig(token_file=os.devnull))


async def test_beyond_this_machine_a_token_is_long() -> None:
    with pytest.raises(ConfigurationError, match="a token has 6 characters; beyond this machine it has at"):
        async with serving(HubConfig(host="0.0.0.0"), "sesame"):
            pass


@pytest.mark.parametrize(
    ("urls", "told"),
    [
        (["http://any:secret@a:1"], "a password has no place in it"),
        (["a:1"], "allowed is http://HOST:PORT"),
        (["http://a:1", "http://a:1/"], "a hub stands there twice"),
    ],
)
def test_urls_of_hubs_are_checked(urls: list[str], told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        validate(HubConfig, {"urls": urls})
