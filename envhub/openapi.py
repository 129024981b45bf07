"""The description of `/v1` for programs: an OpenAPI 3.1 document made from the table of endpoints."""

from collections.abc import Iterable, Iterator
from functools import cache
from itertools import groupby
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from envhub.answers import ErrorAnswer
from envhub.endpoints import ENDPOINTS, Endpoint
from envhub.meanings import MEANINGS
from envhub.refusal import STATUS, Code
from envhub.wire import BODY_TYPES

_SCHEMAS: Final = "#/components/schemas/"
_GROUPS: Final = {
    "Environments": "What there is to play.",
    "Sessions": "Episodes in play. A session is used by one caller at a time; the others wait.",
    "The hub": "Its health, its counters and its description.",
}


@cache
def document() -> dict[str, Any]:
    """The whole description as JSON values; made once, not to be changed."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Pronghorn environment hub",
            "version": "1",
            "summary": "Interactive text environments behind one interface.",
            "description": (
                "Bodies are JSON or MessagePack, by Content-Type; answers are JSON, or MessagePack where "
                "Accept asks for it. Every refusal is an object `error` with a `code` and a `message`."
            ),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": name, "description": text} for name, text in _GROUPS.items()],
        "paths": dict(_paths()),
        "components": {
            "schemas": _schemas(),
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "Only where the hub was started with a token.",
                }
            },
        },
        # An empty requirement: a hub on a loopback address may ask for nothing.
        "security": [{"token": []}, {}],
    }


def models() -> list[type[BaseModel]]:
    """Every body, query and answer, each once."""
    used = [
        kind for endpoint in ENDPOINTS for kind in (endpoint.body, endpoint.answer) if isinstance(kind, type)
    ]
    return [*dict.fromkeys(used), ErrorAnswer]


def _schemas() -> dict[str, Any]:
    _, definitions = models_json_schema(
        [(kind, "validation") for kind in models()], ref_template=_SCHEMAS + "{model}"
    )
    schemas: dict[str, Any] = definitions["$defs"]
    return schemas


def _paths() -> Iterator[tuple[str, dict[str, Any]]]:
    by_path = sorted(ENDPOINTS, key=lambda endpoint: endpoint.path)
    for path, endpoints in groupby(by_path, key=lambda endpoint: endpoint.path):
        yield path, {endpoint.method.lower(): _operation(endpoint) for endpoint in endpoints}


def _operation(endpoint: Endpoint) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": endpoint.name,
        "tags": [endpoint.group],
        "summary": endpoint.summary,
        "description": endpoint.description,
        "parameters": [*_path_parameters(endpoint), *_query_parameters(endpoint)],
        "responses": {
            "200": {"description": endpoint.summary, "content": _content(endpoint.answer)},
            **_refusals(endpoint.codes),
        },
    }
    if endpoint.body is not None:
        operation["requestBody"] = {"required": True, "content": _content(endpoint.body)}
    if endpoint.is_open:
        operation["security"] = []
    return operation


def _path_parameters(endpoint: Endpoint) -> Iterator[dict[str, Any]]:
    for parameter in endpoint.parameters:
        yield {
            "name": parameter.name,
            "in": "path",
            "required": True,
            "description": parameter.description,
            "schema": {"type": parameter.kind},
        }


def _query_parameters(endpoint: Endpoint) -> Iterator[dict[str, Any]]:
    schema = endpoint.query.model_json_schema() if endpoint.query else {}
    for name, field in schema.get("properties", {}).items():
        shape = {key: value for key, value in field.items() if key not in ("title", "description")}
        yield {
            "name": name,
            "in": "query",
            "required": name in schema.get("required", ()),
            "description": field.get("description", ""),
            # Lists as one text, `1,2`.
            **({"style": "form", "explode": False} if field.get("type") == "array" else {}),
            "schema": shape,
        }


def _content(kind: type[BaseModel] | str) -> dict[str, Any]:
    if isinstance(kind, str):
        shape = {"type": "object"} if kind == "application/json" else {}
        return {kind: {"schema": shape}}
    return {content_type: {"schema": {"$ref": _SCHEMAS + kind.__name__}} for content_type in BODY_TYPES}


def _refusals(codes: Iterable[Code]) -> dict[str, Any]:
    """One response per status; its description tells each code."""
    responses: dict[str, Any] = {}
    for status, group in groupby(codes, key=lambda code: STATUS[code]):
        lines = "\n".join(f"- `{code}`: {MEANINGS[code]}" for code in group)
        response: dict[str, Any] = {"description": lines, "content": _content(ErrorAnswer)}
        if status == 503:
            response["headers"] = {
                "Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer"}}
            }
        responses[str(status)] = response
    return responses
