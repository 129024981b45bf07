"""The description of `/v1` for people: one page of HTML made from the table of endpoints.

It needs no script, no font and nothing from anywhere else, and its header forbids all of them. Every text in
it is escaped, those of the table too.
"""

import base64
import hashlib
import json
import re
import shlex
from collections.abc import Callable, Iterable
from html import escape
from itertools import groupby
from typing import Any, Final
from urllib.parse import quote, urlencode

from aiohttp import web
from pydantic import BaseModel

from envhub.agentgym.door import mount
from envhub.endpoints import ENDPOINTS, Endpoint
from envhub.examples import example
from envhub.meanings import MEANINGS
from envhub.openapi import document
from envhub.page_style import STYLE
from envhub.refusal import STATUS
from envhub.wire import JSON

_FLAT_LIST = re.compile(r"\[\n\s+([^\[\]{}]*?)\n\s+\]")
_STYLE_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
HEADERS: Final = {
    "Content-Security-Policy": (
        f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


def docs(environments: Iterable[str]) -> web.Response:
    """The page as a response, with the header that lets it load nothing."""
    return web.Response(text=page(environments), content_type="text/html", headers=HEADERS)


def page(environments: Iterable[str]) -> str:
    """The whole page; `environments` are the names that this hub serves."""
    served = tuple(environments)
    groups = [(name, list(members)) for name, members in groupby(ENDPOINTS, key=lambda one: one.group)]
    contents = "".join(_contents(name, members) for name, members in groups)
    sections = "".join(_section(name, members) for name, members in groups)
    return (
        "<!DOCTYPE html>\n"
        '<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Pronghorn environment hub</title><style>{STYLE}</style></head>"
        f'<body><div class="frame"><nav>{contents}<ul><li><a href="#agentgym">AgentGym\'s clients</a></li>'
        '<li><a href="#codes">Refusals</a></li></ul></nav>'
        f"<main>{_introduction(served)}{sections}{_agentgym(served)}{_codes()}</main></div></body></html>\n"
    )


def _introduction(environments: Iterable[str]) -> str:
    names = "".join(f"<code>{escape(name)}</code> " for name in environments)
    return (
        "<h1>Pronghorn environment hub</h1>"
        f"<p>{_prose(document()['info']['description'])} "
        'For programs: <a href="/openapi.json">OpenAPI 3.1</a>.</p>'
        f'<p class="names">This hub serves {names or "nothing"}</p>'
        "<p>In the examples <code>$HUB</code> is its address, such as <code>http://127.0.0.1:8700</code>, "
        "and <code>...</code> stands for what is left out. "
        'A hub with a token wants <code>-H "Authorization: Bearer $PRONGHORN_HUB_TOKEN"</code> as well.</p>'
    )


def _contents(group: str, endpoints: Iterable[Endpoint]) -> str:
    links = "".join(f'<li><a href="#{escape(e.name)}">{escape(e.summary)}</a></li>' for e in endpoints)
    return f"<b>{escape(group)}</b><ul>{links}</ul>"


def _section(group: str, endpoints: Iterable[Endpoint]) -> str:
    about = {tag["name"]: tag["description"] for tag in document()["tags"]}[group]
    return f"<h2>{escape(group)}</h2><p>{escape(about)}</p>" + "".join(map(_article, endpoints))


def _article(endpoint: Endpoint) -> str:
    """One endpoint: what it is above, what goes in and out at the left, an example at the right."""
    return (
        f'<article id="{escape(endpoint.name)}"><header><h3>{escape(endpoint.summary)}</h3>'
        f'<code><span class="method {escape(endpoint.method)}">{escape(endpoint.method)}</span>'
        f"{escape(endpoint.path)}</code><p>{_prose(endpoint.description)}</p></header>"
        f"<div>{_parameters(endpoint)}{_sent('Query', endpoint.query)}{_sent('Body', endpoint.body)}"
        f"{_answer(endpoint)}{_refusals(endpoint)}</div><div>{_example(endpoint)}</div></article>"
    )


def _parameters(endpoint: Endpoint) -> str:
    rows = [(p.name, p.kind, "", p.description) for p in endpoint.parameters]
    return _table("Path", rows)


def _answer(endpoint: Endpoint) -> str:
    if isinstance(endpoint.answer, str):
        return f"<h4>Answer</h4><p><code>{escape(endpoint.answer)}</code></p>"
    return _fields("Answer", endpoint.answer, lambda _: "may be missing")


def _sent(title: str, kind: type[BaseModel] | None) -> str:
    return _fields(title, kind, lambda value: f"default {json.dumps(value)}") if kind else ""


def _fields(title: str, kind: type[BaseModel], optional: Callable[[Any], str]) -> str:
    """A table of the model's fields, with those of the models inside it below their own names.

    `optional` says of a field that is not required what its default means.
    """
    schema = kind.model_json_schema()
    tables = _table(title, _rows(schema, optional))
    for name, inner in schema.get("$defs", {}).items():
        tables += _table(name, _rows(inner, optional)) if "properties" in inner else ""
    return tables


def _rows(schema: dict[str, Any], optional: Callable[[Any], str]) -> list[tuple[str, str, str, str]]:
    required = schema.get("required", ())
    return [
        (
            name,
            _shape(field),
            "" if name in required else optional(field["default"]),
            field.get("description", ""),
        )
        for name, field in schema["properties"].items()
    ]


def _shape(schema: dict[str, Any]) -> str:
    """The type of a field in a few words."""
    if "$ref" in schema:
        return str(schema["$ref"].rpartition("/")[2])
    if "anyOf" in schema:
        return " or ".join(map(_shape, schema["anyOf"]))
    if "const" in schema:
        return json.dumps(schema["const"])
    if "enum" in schema:
        few = schema["enum"][:4]
        return " | ".join(few) + (" | ..." if len(schema["enum"]) > len(few) else "")
    if schema["type"] == "array":
        return f"list of {_shape(schema['items'])}"
    return str(schema["type"])


def _table(title: str, rows: Iterable[tuple[str, str, str, str]]) -> str:
    lines = "".join(
        f"<tr><td><code>{escape(name)}</code></td><td>{_prose(about)} "
        f"<small>{escape(', '.join(filter(None, (shape, default))))}</small></td></tr>"
        for name, shape, default, about in rows
    )
    return f"<h4>{escape(title)}</h4><table>{lines}</table>" if lines else ""


def _refusals(endpoint: Endpoint) -> str:
    lines = "".join(
        f'<tr><td>{STATUS[code]}</td><td><a href="#code-{code}"><code>{code}</code></a> '
        f"{escape(MEANINGS[code])}</td></tr>"
        for code in endpoint.codes
    )
    return f"<details><summary>{len(endpoint.codes)} refusals</summary><table>{lines}</table></details>"


def _example(endpoint: Endpoint) -> str:
    shown = f"<h4>Example</h4><pre>{escape(curl(endpoint))}</pre>"
    if isinstance(endpoint.answer, str):
        return shown
    return f"{shown}<h4>Answer</h4><pre>{escape(_written(example(endpoint.answer)))}</pre>"


def _written(value: Any) -> str:
    """JSON for people: every field on a line of its own, lists of plain values on one."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    return _FLAT_LIST.sub(lambda found: "[" + re.sub(r",\n\s+", ", ", found[1]) + "]", text)


def curl(endpoint: Endpoint) -> str:
    """A command line that calls the endpoint with example values."""
    path = endpoint.path
    for parameter in endpoint.parameters:
        path = path.replace(f"{{{parameter.name}}}", quote(parameter.example, safe=""))
    if endpoint.query is not None:
        values = example(endpoint.query)
        path += "?" + urlencode(
            {k: ",".join(map(str, v)) if isinstance(v, list) else v for k, v in values.items()}, safe=","
        )
    method = f" -X {endpoint.method}" if endpoint.method == "DELETE" else ""
    line = f'curl -s{method} "$HUB{path}"'
    if endpoint.body is not None:
        sent = json.dumps(example(endpoint.body))
        line += f" \\\n  -H {shlex.quote(f'Content-Type: {JSON}')} \\\n  -d {shlex.quote(sent)}"
    return line + (f" > {endpoint.name}.png" if endpoint.answer == "image/png" else "")


def _agentgym(environments: Iterable[str]) -> str:
    """Where AgentGym's clients find each environment; what they say there is told by docs/hub.md."""
    rows = [(name, "", "", f"`$HUB/{mount(name)}`") for name in environments]
    return (
        '<h2 id="agentgym">AgentGym\'s clients</h2><p>'
        + _prose(
            "Below its name every environment speaks the dialect of AgentGym's servers, for unmodified "
            "clients: `create` (or `createEnv`), `reset`, `step`, `observation`, `available_actions` and "
            "`close`. "
            "Mistakes are answered with status 200 and `error` among the keys; a `create` without room with "
            "503. `docs/hub.md` tells the keys of every dialect."
        )
        + f"</p>{_table('Base addresses', rows)}"
    )


def _codes() -> str:
    lines = "".join(
        f'<tr id="code-{code}"><td>{STATUS[code]}</td><td><code>{code}</code></td>'
        f"<td>{escape(MEANINGS[code])}</td></tr>"
        for code in sorted(MEANINGS, key=lambda code: (STATUS[code], code))
    )
    return f'<h2 id="codes">Refusals</h2><table>{lines}</table>'


def _prose(text: str) -> str:
    """Escaped, with what stands between back quotes as code."""
    parts = escape(text).split("`")
    return "".join(f"<code>{part}</code>" if index % 2 else part for index, part in enumerate(parts))
