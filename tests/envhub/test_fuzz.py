"""A live hub is sent nonsense: no answer of 5xx but the documented ones, no crash, no growth, all counted.

`PRONGHORN_FUZZ_EXAMPLES` (4) is how many examples each test tries; a few thousand are a long night's worth.
"""

import asyncio
import json
import os
import re
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlsplit

import msgpack
import psutil
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from envhub.openapi import document
from tests.envhub.hub_process import HubProcess

EXAMPLES = int(os.environ.get("PRONGHORN_FUZZ_EXAMPLES", "4"))
TOKEN = "fuzz-fuzz-fuzz-fuzz-fuzz"
RIGHT = {"Authorization": f"Bearer {TOKEN}"}
CALL_S = 60
MAX_GROWTH_BYTES = 48 << 20
fuzzed = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


@schemathesis.serializer("application/msgpack")
def packed(_: Any, value: Any) -> bytes:
    """What MessagePack cannot say, such as a number of 70 bits, is sent as what is no MessagePack."""
    try:
        return value if isinstance(value, bytes) else bytes(msgpack.packb(value))
    except (OverflowError, TypeError, ValueError):
        return b"\xc1"


schema = schemathesis.openapi.from_dict(document())


@pytest.fixture(scope="module")
def hub() -> Iterator[HubProcess]:
    """One hub for all, alive and not much larger at the end."""
    one = HubProcess(
        "--environments=guess_number",
        *("--hub.calls_per_s=0", "--hub.strangers_per_s=0", "--hub.opens_per_s=0"),
        *("--hub.max_sessions=64", "--hub.max_body_bytes=65536"),
        token=TOKEN,
    )
    with asyncio.Runner() as runner:
        try:
            runner.run(one.start())
            # Its catalogue has a worker too.
            assert asked(one, "/v1/environments")[0] == 200
            begun = psutil.Process(one.pid).memory_info().rss
            worker = psutil.Process(one.pid).children()[0].pid
            yield one
            assert asked(one, "/healthz")[0] == 200
            assert psutil.Process(one.pid).memory_info().rss < begun + MAX_GROWTH_BYTES
            assert worker in {child.pid for child in psutil.Process(one.pid).children()}
        finally:
            runner.run(one.kill())


def asked(hub: HubProcess, path: str, data: bytes | None = None) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(urllib.request.Request(hub.url + path, data, headers=RIGHT)) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, ""


def refusals(hub: HubProcess) -> float:
    """All refusals so far, but those that the hub itself is to blame for."""
    text = asked(hub, "/metrics")[1]
    assert "hub_broken" not in text
    return sum(float(n) for n in re.findall(r"^pronghorn_hub_refusals_total\{.*\} (\S+)$", text, re.M))


@schema.parametrize()
@fuzzed
def test_what_is_described_is_what_is_answered(case: Any, hub: HubProcess) -> None:
    before = refusals(hub)
    answer = case.call(base_url=hub.url, headers=RIGHT, timeout=CALL_S)
    assert answer.status_code < 500 or answer.status_code == 503, answer.text
    if answer.status_code >= 400:
        assert refusals(hub) > before
    elif "json" in answer.headers.get("Content-Type", [""])[0] and case.path != "/openapi.json":
        case.validate_response(answer, checks=[schemathesis.checks.not_a_server_error])


@schema.parametrize()
@settings(fuzzed, max_examples=max(1, EXAMPLES // 6))
def test_without_the_token_everything_is_answered_alike(case: Any, hub: HubProcess) -> None:
    answer = case.call(base_url=hub.url, timeout=CALL_S)
    if case.path == "/healthz":
        return
    assert answer.status_code in (400, 401)
    if answer.status_code == 401:
        assert answer.json()["error"]["code"] == "unauthorized"


def sent(hub: HubProcess, raw: bytes) -> bytes:
    """What is answered to these bytes and the end of the sending side."""
    where = urlsplit(hub.url)
    with socket.create_connection((where.hostname, where.port), timeout=10) as connection:
        try:
            connection.sendall(raw)
            connection.shutdown(socket.SHUT_WR)
            found = b""
            while piece := connection.recv(65536):
                found += piece
        except ConnectionError:
            return b""
        return found


line = st.binary(max_size=60).map(lambda text: text.replace(b"\n", b""))
target = st.sampled_from(
    [
        *(
            b"/v1/step",
            b"/v1/sessions",
            b"/%2e%2e/%2e%2e/etc/passwd",
            b"//v1//sessions",
            b"/guess_number/step",
        ),
        *(b"/guess_number/step", b"/v1/sessions/%00/step", b"*"),
        *(b"http://x/v1/load", b"/v1/sessions/..%2fmetrics/render", b"/\xff"),
    ]
)
headers = st.lists(
    st.sampled_from(
        [
            *(
                b"Content-Length: 5",
                b"Content-Length: 99999999999",
                b"Content-Length: -1",
                b"Content-Length: x",
            ),
            *(b"Transfer-Encoding: chunked", b"Transfer-Encoding: gzip, chunked", b"Expect: 100-continue"),
            *(b"Content-Encoding: gzip", b"Content-Encoding: deflate", b"Content-Type: application/json"),
            *(b"Content-Type: application/msgpack", b"Upgrade: websocket\r\nConnection: Upgrade"),
            *(b"Origin: http://\xff", b"Host: [", b"Accept: " + b"a," * 400, b"X: " + b"y" * 9000),
            f"Authorization: Bearer {TOKEN}".encode(),
        ]
    )
    | line,
    max_size=6,
)


@fuzzed
@given(
    method=st.sampled_from((b"GET", b"POST", b"DELETE", b"OPTIONS", b"BREW", b"", b"\x16\x03\x01")),
    target=target | line,
    headers=headers,
    body=st.binary(max_size=300) | st.just(b'{"steps": [{"session": "\xff"}]}') | st.just(b"[" * 60_000),
    cut=st.integers(0, 400),
)
def test_raw_bytes_are_refused_and_break_nothing(
    hub: HubProcess, method: bytes, target: bytes, headers: list[bytes], body: bytes, cut: int
) -> None:
    head = b"\r\n".join([method + b" " + target + b" HTTP/1.1", *headers])
    whole = head + b"\r\n\r\n" + body
    for raw in (whole, whole[:cut]):
        for status in re.findall(rb"^HTTP/1\.[01] (\d+)", sent(hub, raw), re.M):
            assert int(status) < 500, raw
    refusals(hub)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
keys = st.sampled_from(("id", "env_idx", "data_idx", "action", "game", "seed", "goal", "commands", "x"))


@fuzzed
@given(
    operation=st.sampled_from(("create", "createEnv", "reset", "step", "observation", "close", "detail", "")),
    body=st.dictionaries(keys, values, max_size=4) | values,
    is_post=st.booleans(),
)
def test_dialects_answer_nonsense_with_an_error_and_never_with_a_crash(
    hub: HubProcess, operation: str, body: Any, is_post: bool
) -> None:
    data = json.dumps(body).encode() if is_post else None
    status, text = asked(hub, f"/guess_number/{operation}", data)
    assert status in (200, 404, 405, 503)
    if status == 200:
        json.loads(text)
    refusals(hub)


@fuzzed
@given(identity=st.text(st.characters(codec="utf-8"), min_size=1, max_size=40))
def test_no_session_is_found_without_its_id(hub: HubProcess, identity: str) -> None:
    assert asked(hub, f"/v1/sessions/{quote(identity, safe='')}/observation")[0] in (400, 404)
