"""Headers that no browser sends: they are refused like any other stranger, and break nothing."""

import asyncio
from typing import Any
from urllib.parse import urlsplit

import pytest

from envhub.config import HubConfig
from envhub.serving import serving

TASK = '{"environment": "guess_number", "task": "number-001"}'


async def asked(url: str, body: str = TASK, path: str = "/v1/sessions", **headers: bytes) -> tuple[int, str]:
    """Status and body of a POST with these very bytes as headers."""
    sent = {"Host": b"127.0.0.1", "Content-Type": b"application/json", "Connection": b"close", **headers}
    head = b"".join(name.encode() + b": " + value + b"\r\n" for name, value in sent.items())
    raw = body.encode()
    where = urlsplit(url)
    reader, writer = await asyncio.open_connection(where.hostname, where.port)
    writer.write(f"POST {path} HTTP/1.1\r\n".encode() + head)
    writer.write(f"Content-Length: {len(raw)}\r\n\r\n".encode() + raw)
    answer = (await reader.read()).decode("utf-8", "replace")
    writer.close()
    return int(answer.split()[1]), answer.partition("\r\n\r\n")[2]


def hub(token: str = "") -> Any:
    return serving(HubConfig(environments=("guess_number",)), token)


async def test_a_token_of_any_bytes_is_a_wrong_token() -> None:
    async with hub("sesame") as server:
        for value in (b"Bearer \xff", b"Bearer \xc3\xa9", b"Basic \xff", b"\xff \xff", b"Bearer"):
            status, answer = await asked(server.url, Authorization=value)
            assert status == 401, value
            assert "unauthorized" in answer
        assert (await asked(server.url, Authorization=b"Bearer sesame"))[0] == 200


async def test_a_token_may_have_any_letters() -> None:
    async with hub("s\u00e9same,\udcff") as server:
        for value in ("Bearer s\u00e9same".encode(), b"Bearer \xff"):
            assert (await asked(server.url, Authorization=value))[0] == 200
        assert (await asked(server.url, Authorization=b"Bearer \xfe"))[0] == 401


@pytest.mark.parametrize("host", [b"x:999999", b"x:y", b"\xff", b"[", b"a b", b":", b"127.0.0.1:999999"])
async def test_a_host_that_is_none_is_a_foreign_origin(host: bytes) -> None:
    async with hub() as server:
        status, answer = await asked(server.url, Host=host, Origin=b"http://" + host)
        assert (status, "foreign_origin" in answer) == (403, True)


async def test_actions_with_half_a_surrogate_pair_are_played_alone_and_in_a_batch() -> None:
    async with hub() as server:
        _, opened = await asked(server.url)
        session = opened.partition('"session":"')[2].partition('"')[0]
        step = '{"index": %d, "action": "\\ud800"%s}'
        status, _ = await asked(server.url, step % (0, ""), f"/v1/sessions/{session}/step")
        assert status == 200
        batch = '{"steps": [%s]}' % (step % (1, f', "session": "{session}"'))
        status, answer = await asked(server.url, batch, "/v1/step")
        assert (status, "error" in answer) == (200, False)
