"""JSON and MessagePack on the wire: the same values either way, and one clear line for hostile bytes."""

import gzip
import json
import math
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import aiohttp
import msgpack
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from common.errors import ConfigurationError
from envhub.bodies import BatchBody, StepBody
from envhub.doors import structured_errors
from envhub.metrics import HubMetrics
from envhub.wire import BODY_TYPES, JSON, MSGPACK, accepted, answer, decode, encode, read_body

STEP = {"index": 3, "action": "get 2 \u6728 logs"}
both_ways = pytest.mark.parametrize("content_type", [JSON, MSGPACK])

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=9), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(value=values)
def test_what_is_encoded_is_decoded_either_way(value: Any) -> None:
    for content_type in BODY_TYPES:
        assert decode(encode(value, content_type), content_type) == value


@given(body=st.binary(max_size=200))
def test_no_bytes_make_the_decoder_raise_anything_else(body: bytes) -> None:
    for content_type in (JSON, MSGPACK, "text/plain"):
        with suppress(ConfigurationError):
            decode(body, content_type)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xc1",
        b"\x81",
        b"\x01\x02",
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\xdb\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\xc9\xff\xff\xff\xff\x05",
        b"\x91" * 100_000 + b"\x01",
        b"\x81\xa1a" * 100_000 + b"\x01",
        msgpack.packb(msgpack.ExtType(5, b"x")),
        msgpack.packb({1: 2}),
        msgpack.packb({None: 2}),
        msgpack.packb({(1, 2): 2}),
        msgpack.packb({"a": {1.5: 2}}),
        b"\xa2\xff\xfe",
        b"\xd7\xff" + struct.pack(">Q", 2**64 - 1),
    ],
)
def test_hostile_messagepack_is_one_clear_line(body: bytes) -> None:
    with pytest.raises(
        ConfigurationError, match=r"^the body is (not such MessagePack|nested too deeply)"
    ) as error:
        decode(body, MSGPACK)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 100_000, b"1" * 5000, b'{"a":1}{}'])
def test_hostile_json_is_one_clear_line(body: bytes) -> None:
    with pytest.raises(ConfigurationError, match=r"^the body is (not such JSON|nested too deeply)"):
        decode(body, JSON)


def test_json_never_says_nan() -> None:
    for number in (math.nan, math.inf):
        with pytest.raises(ValueError, match="not JSON compliant"):
            encode({"reward": number}, JSON)


def test_half_a_surrogate_pair_becomes_a_question_mark() -> None:
    for content_type in BODY_TYPES:
        assert decode(encode({"text": "a\ud800b"}, content_type), content_type) == {"text": "a?b"}


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", JSON),
        ("*/*", JSON),
        ("text/html", JSON),
        (MSGPACK, MSGPACK),
        ("Application/MsgPack", MSGPACK),
        (f"{MSGPACK}, */*", MSGPACK),
        (f"{MSGPACK}, {JSON}", JSON),
        (f"{MSGPACK}, {JSON};q=0.5", MSGPACK),
        (f"{MSGPACK};q=0.4, {JSON};q=0.5", JSON),
        (f"{MSGPACK};q=0", JSON),
        (f"{MSGPACK};q=many", JSON),
        (f"{MSGPACK};q=nan", JSON),
        (";;,,;q=", JSON),
    ],
)
def test_messagepack_is_for_those_who_ask_for_it(accept: str, expected: str) -> None:
    assert accepted(accept) == expected


@asynccontextmanager
async def echo(value: Any = None) -> AsyncIterator[tuple[aiohttp.ClientSession, str]]:
    """A server that answers with the StepBody it was sent, or with `value`."""

    async def handle(request: web.Request) -> web.Response:
        if value is not None:
            return answer(request, value)
        kind = BatchBody if request.query else StepBody
        return answer(request, (await read_body(request, kind)).model_dump())

    application = web.Application(middlewares=[structured_errors(HubMetrics())], client_max_size=1 << 20)
    application.add_routes([web.post("/", handle)])
    runner = web.AppRunner(application, shutdown_timeout=0.01)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        async with aiohttp.ClientSession() as http:
            yield http, f"http://127.0.0.1:{runner.addresses[0][1]}/"
    finally:
        await runner.cleanup()


@both_ways
@pytest.mark.parametrize("accept", [JSON, MSGPACK])
async def test_a_body_is_read_as_what_it_is_and_answered_as_asked(content_type: str, accept: str) -> None:
    headers = {"Content-Type": content_type, "Accept": accept}
    async with (
        echo() as (http, url),
        http.post(url, data=encode(STEP, content_type), headers=headers) as response,
    ):
        assert response.status == 200
        assert response.content_type == accept
        assert decode(await response.read(), accept) == {**STEP, "is_text": False}


async def refusal(http: aiohttp.ClientSession, url: str, body: bytes, **headers: str) -> str:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    async with http.post(url, data=body, headers=sent) as response:
        found = await response.json()
        assert response.status == 400, found
        assert "\n" not in found["error"]["message"]
        return str(found["error"]["message"])


@both_ways
async def test_a_wrong_body_is_a_bad_request(content_type: str) -> None:
    async with echo() as (http, url):
        for wrong in (
            [],
            "text",
            3,
            None,
            {},
            {**STEP, "index": "x"},
            {**STEP, "index": -1},
            {**STEP, "a": 1},
        ):
            assert await refusal(http, url, encode(wrong, content_type), Content_Type=content_type)


async def test_another_content_type_is_told_which_are_allowed() -> None:
    body = json.dumps(STEP).encode()
    async with echo() as (http, url):
        for content_type in ("text/plain", "application/x-www-form-urlencoded", "application/octet-stream"):
            message = await refusal(http, url, body, Content_Type=content_type)
            assert message.startswith(f"Content-Type = '{content_type}': unsupported; allowed are ")


async def test_a_body_nested_to_the_very_limit_is_a_bad_request() -> None:
    async with echo() as (http, url):
        for depth in range(820, 1030, 3):
            nested = b'{"index": ' + b"[" * depth + b"]" * depth + b', "action": ""}'
            await refusal(http, url, nested, Content_Type=JSON)
            packed = b"\x82\xa6action\xa0\xa5index" + b"\x91" * depth + b"\x01"
            await refusal(http, url, packed, Content_Type=MSGPACK)


async def test_text_keys_are_text_and_not_bytes() -> None:
    async with echo() as (http, url):
        body = msgpack.packb({b"index": 0, b"action": ""})
        await refusal(http, url, body, Content_Type=MSGPACK)
        await refusal(http, url + "?batch=1", msgpack.packb({"steps": [{b"index": 0}]}), Content_Type=MSGPACK)


async def test_a_body_that_is_not_compressed_as_it_claims_is_a_bad_request() -> None:
    async with echo() as (http, url):
        headers = {"Content-Type": JSON, "Content-Encoding": "gzip"}
        async with http.post(url, data=gzip.compress(json.dumps(STEP).encode()), headers=headers) as response:
            assert response.status == 200
        async with http.post(url, data=gzip.compress(b" " * (1 << 22)), headers=headers) as response:
            assert response.status == 413
    async with echo() as (http, url):
        message = await refusal(http, url, b"{}", Content_Type=JSON, Content_Encoding="gzip")
        assert "Content-Encoding" in message


@both_ways
async def test_what_no_wire_can_carry_is_the_environments_fault(content_type: str) -> None:
    async with (
        echo({"detail": object()}) as (http, url),
        http.post(url, headers={"Accept": content_type}) as it,
    ):
        assert it.status == 410
        assert decode(await it.read(), content_type)["error"]["code"] == "environment_fault"
