"""The description of /v1: valid, complete, and kept by a real hub whatever it is sent."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, get_args
from urllib.parse import quote, urlencode

import aiohttp
import jsonschema
import msgpack
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openapi_spec_validator import OpenAPIV31SpecValidator, validate
from pydantic import BaseModel

from envhub.answers import StepAnswer, TaskAnswer
from envhub.config import HubConfig
from envhub.endpoints import ENDPOINTS, OPEN_PATHS, Endpoint
from envhub.environment import StepResult
from envhub.examples import example
from envhub.meanings import MEANINGS
from envhub.openapi import document, models
from envhub.refusal import STATUS, Code
from envhub.serving import serving
from envhub.session import Opening
from envhub.task import Task
from envhub.wire import BODY_TYPES, JSON, MSGPACK, decode
from tests.envhub.schema_values import broken, fitting

SCHEMAS = document()["components"]["schemas"]
BY_NAME = {endpoint.name: endpoint for endpoint in ENDPOINTS}
CREATE = {"environment": "guess_number", "task": "number-001"}
every_endpoint = pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: endpoint.name)


def test_the_document_is_valid_openapi() -> None:
    written = json.loads(json.dumps(document(), allow_nan=False))
    assert written == document()
    validate(written, cls=OpenAPIV31SpecValidator)


def test_no_two_endpoints_share_a_name_or_a_route() -> None:
    assert len(BY_NAME) == len(ENDPOINTS)
    assert len({(endpoint.method, endpoint.path) for endpoint in ENDPOINTS}) == len(ENDPOINTS)
    assert OPEN_PATHS == ("/healthz",)


@every_endpoint
def test_the_document_has_every_endpoint_with_every_refusal(endpoint: Endpoint) -> None:
    operation = document()["paths"][endpoint.path][endpoint.method.lower()]
    assert operation["operationId"] == endpoint.name
    assert set(operation["responses"]) == {"200"} | {str(STATUS[code]) for code in endpoint.codes}
    for code in endpoint.codes:
        assert f"`{code}`" in operation["responses"][str(STATUS[code])]["description"]
    assert ("requestBody" in operation) == (endpoint.body is not None) == (endpoint.method == "POST")


def test_every_code_has_a_meaning_and_a_status() -> None:
    assert set(MEANINGS) == set(STATUS) == set(get_args(Code))


@pytest.mark.parametrize("kind", models(), ids=lambda kind: kind.__name__)
def test_an_example_is_what_it_exemplifies(kind: type[BaseModel]) -> None:
    shown = json.loads(json.dumps(example(kind)))
    kind.model_validate(shown)
    jsonschema.validate(
        shown, {"$ref": f"#/components/schemas/{kind.__name__}", "components": document()["components"]}
    )


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_model_and_every_field_is_described(name: str) -> None:
    assert SCHEMAS[name]["description"]
    assert all(field.get("description") for field in SCHEMAS[name]["properties"].values())


@pytest.mark.parametrize(("answer", "kind"), [(StepAnswer, StepResult), (TaskAnswer, Task)])
def test_answers_have_the_fields_of_what_they_carry(answer: type[BaseModel], kind: type[BaseModel]) -> None:
    fields = {name: info.annotation for name, info in answer.model_fields.items()}
    assert fields == {name: info.annotation for name, info in kind.model_fields.items()}


def test_an_opened_session_is_an_opening_with_an_id() -> None:
    fields = set(BY_NAME["open"].answer.model_fields)  # type: ignore[union-attr]
    assert fields == {*Opening.model_fields, "session"}


@dataclass
class Asked:
    """One request."""

    endpoint: Endpoint
    places: dict[str, str] = field(default_factory=dict)
    query: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None
    content_type: str = JSON
    accept: str = JSON

    @property
    def path(self) -> str:
        path = self.endpoint.path
        for name, value in self.places.items():
            path = path.replace(f"{{{name}}}", quote(value, safe="", errors="replace"))
        return path + ("?" + urlencode(self.query, errors="replace") if self.query else "")


class Visitor:
    """Asks a real hub and checks that every answer is as the description says."""

    def __init__(self, http: aiohttp.ClientSession, url: str) -> None:
        self._http, self._url = http, url

    async def ask(self, asked: Asked) -> tuple[int, Any]:
        headers = {"Accept": asked.accept}
        if asked.body is not None:
            headers["Content-Type"] = asked.content_type
        # The path goes out as it is: it has been encoded here.
        url = aiohttp.client.URL(self._url + asked.path, encoded=True)
        async with self._http.request(
            asked.endpoint.method, url, data=asked.body, headers=headers, allow_redirects=False
        ) as response:
            body = await response.read()
            self.check(asked, response, body)
            is_read = response.content_type in BODY_TYPES
            return response.status, decode(body, response.content_type) if is_read else body

    def check(self, asked: Asked, response: aiohttp.ClientResponse, body: bytes) -> None:
        endpoint = asked.endpoint
        if response.status == 200:
            kinds = document()["paths"][endpoint.path][endpoint.method.lower()]["responses"]["200"]["content"]
            assert response.content_type in kinds
            if response.content_type in BODY_TYPES:
                assert response.content_type == (asked.accept if len(kinds) > 1 else JSON)
                self.fits(decode(body, response.content_type), kinds[response.content_type]["schema"])
            return
        assert response.content_type == asked.accept
        answer = decode(body, asked.accept)
        self.fits(answer, {"$ref": "#/components/schemas/ErrorAnswer"})
        code = answer["error"]["code"]
        assert code in endpoint.codes, answer
        assert response.status == STATUS[code]
        assert ("Retry-After" in response.headers) == (response.status == 503)
        assert "\n" not in answer["error"]["message"]

    def fits(self, value: Any, schema: dict[str, Any]) -> None:
        # Both wires carry the same values; jsonschema knows those of JSON.
        jsonschema.validate(json.loads(json.dumps(value)), {**schema, "components": document()["components"]})


@asynccontextmanager
async def visited(**changes: Any) -> AsyncIterator[tuple[Visitor, str]]:
    """A visitor of a real hub, and a session that is open there."""
    config = HubConfig(environments=("guess_number", "textcraft"), max_body_bytes=1 << 16, **changes)
    async with serving(config) as server, aiohttp.ClientSession() as http:
        visitor = Visitor(http, server.url)
        _, opened = await visitor.ask(Asked(BY_NAME["open"], body=json.dumps(CREATE).encode()))
        yield visitor, opened["session"]


@pytest.mark.parametrize("wire", BODY_TYPES)
async def test_every_endpoint_answers_as_described(wire: str) -> None:
    write = {JSON: lambda value: json.dumps(value).encode(), MSGPACK: msgpack.packb}[wire]
    async with visited() as (visitor, session):
        bodies = {
            "open": CREATE,
            "step": {"index": 0, "action": "guess 1"},
            "step_many": {
                "steps": [
                    {"session": session, "index": 1, "action": "guess 2"},
                    {"session": "none", "index": 0, "action": ""},
                ]
            },
        }
        places = {"name": "guess_number", "task": "number-001", "index": "0", "session": session}
        for endpoint in sorted(ENDPOINTS, key=lambda endpoint: endpoint.name == "close"):
            used = {parameter.name: places[parameter.name] for parameter in endpoint.parameters}
            body = write(bodies[endpoint.name]) if endpoint.body else None
            status, answer = await visitor.ask(
                Asked(endpoint, used, body=body, content_type=wire, accept=wire)
            )
            assert status == (404 if endpoint.name == "picture" else 200), (endpoint.name, answer)


async def test_the_routes_are_the_table() -> None:
    async with serving(HubConfig(environments=("guess_number",))) as server:
        routes = {
            (route.method, route.resource.canonical)
            for route in server.application.router.routes()
            if route.resource is not None and route.method != "HEAD"
        }
    table = {(endpoint.method, endpoint.path) for endpoint in ENDPOINTS}
    assert table <= routes
    assert {route for route in routes if route[1].startswith("/v1")} <= table


async def test_the_description_is_served() -> None:
    async with visited() as (visitor, _):
        _, served = await visitor.ask(Asked(BY_NAME["openapi"]))
        assert served == document()
        _, page = await visitor.ask(Asked(BY_NAME["docs"]))
        assert b"guess_number" in page


@st.composite
def requests(draw: st.DrawFn, session: str) -> Asked:
    """Any request to a described path: right, nearly right, or nonsense."""
    known = {
        "environment": ["guess_number", "textcraft", "babyai"],
        "task": ["number-001", "textcraft_oak_boat"],
        "session": [session],
        "index": [0, 1],
        "action": ["guess 1", "inventory"],
    }
    text = st.text(max_size=20) | st.sampled_from(["\x00", "%", "%ff", "a/b", "a" * 300, "-1", "9" * 30])
    places = {
        "name": st.sampled_from(known["environment"]) | text,
        "task": st.sampled_from(known["task"]) | text,
        "index": st.integers(-5, 100).map(str) | text,
        "session": st.just(session) | text,
    }
    endpoint = draw(st.sampled_from([one for one in ENDPOINTS if one.name != "close"]))
    # An empty part is another path.
    used = {
        p.name: draw(places[p.name].filter(lambda part: part not in ("", ".", "..")))
        for p in endpoint.parameters
    }
    asked = Asked(endpoint, used, accept=draw(st.sampled_from(BODY_TYPES)))
    if endpoint.query is not None:
        asked.query = draw(queries(endpoint.query))
    if endpoint.body is not None:
        right = fitting(SCHEMAS[endpoint.body.__name__], SCHEMAS, known)
        value = draw(right | broken(right))
        asked.content_type = draw(st.sampled_from([JSON, MSGPACK, JSON, MSGPACK, "text/plain"]))
        asked.body = draw(st.just(written(value, asked.content_type)) | st.binary(max_size=40))
    return asked


def queries(kind: type[BaseModel]) -> st.SearchStrategy[dict[str, str]]:
    right = fitting(kind.model_json_schema(), {}, {"limit": [1, 5]})
    return (right | broken(right)).map(
        lambda value: {
            key: ",".join(map(str, given)) if isinstance(given, list) else str(given)
            for key, given in (value if isinstance(value, dict) else {"x": value}).items()
        }
    )


def written(value: Any, content_type: str) -> bytes:
    if content_type == MSGPACK:
        return bytes(msgpack.packb(value, unicode_errors="surrogatepass"))
    return json.dumps(value).encode()


async def test_no_request_is_answered_but_as_described() -> None:
    async with visited() as (visitor, session):
        loop = asyncio.get_running_loop()

        @settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
        @given(asked=requests(session))
        def try_all(asked: Asked) -> None:
            asyncio.run_coroutine_threadsafe(visitor.ask(asked), loop).result(30)

        # Hypothesis is synchronous; the hub lives in this loop.
        await asyncio.to_thread(try_all)
        status, _ = await visitor.ask(Asked(BY_NAME["observation"], {"session": session}))
        assert status == 200
