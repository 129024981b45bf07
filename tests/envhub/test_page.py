"""The page at /docs: complete, escaped, and unable to load anything."""

import base64
import hashlib
import re
import shlex
from html.parser import HTMLParser

import pytest

from envhub.endpoints import ENDPOINTS, Endpoint
from envhub.page import HEADERS, curl, docs, page
from envhub.refusal import STATUS

HOSTILE = '<script>alert("x")</script>&\'"'
VOID = {"meta"}


class Reader(HTMLParser):
    """Collects tags, ids and texts, and checks that every tag is closed in its place."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.attributes: set[str] = set()
        self.texts: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes.update(name for name, _ in attrs)
        found = dict(attrs)
        self.ids += [found["id"] or ""] if "id" in found else []
        self.links += [found["href"] or ""] if "href" in found else []
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


READ = Reader(page(["textcraft", HOSTILE]))


def test_every_tag_is_closed_in_its_place() -> None:
    assert READ.open == []


def test_every_endpoint_and_every_code_has_its_place() -> None:
    assert {endpoint.name for endpoint in ENDPOINTS} < set(READ.ids)
    assert {f"code-{code}" for code in STATUS} < set(READ.ids)
    assert len(READ.ids) == len(set(READ.ids))
    shown = " ".join(READ.texts)
    for endpoint in ENDPOINTS:
        assert endpoint.path in shown
        assert endpoint.summary in shown


def test_links_lead_to_what_is_there() -> None:
    paths = {endpoint.path for endpoint in ENDPOINTS}
    for link in READ.links:
        assert link.removeprefix("#") in READ.ids if link.startswith("#") else link in paths


def test_names_are_text_whatever_they_are() -> None:
    assert HOSTILE in READ.texts
    assert "script" not in READ.tags


def test_agentgyms_clients_are_told_where_each_environment_is() -> None:
    told = Reader(page(["textcraft", "python:lights:Lights"])).texts
    assert {"$HUB/textcraft", "$HUB/python_lights_Lights"} < set(told)


def test_nothing_runs_and_nothing_is_loaded() -> None:
    assert not READ.tags & {"script", "link", "img", "iframe", "object", "embed", "base", "form", "svg"}
    assert not READ.attributes & {"src", "style", "srcset", "action"}
    assert not any(name.startswith("on") for name in READ.attributes)
    assert "url(" not in page([]).lower()
    assert "@import" not in page([]).lower()


def test_the_header_allows_the_one_style_and_nothing_else() -> None:
    style = re.findall(r"<style>(.*?)</style>", page([]), re.DOTALL)
    assert len(style) == 1
    digest = base64.b64encode(hashlib.sha256(style[0].encode()).digest()).decode()
    policy = dict(part.split(" ", 1) for part in HEADERS["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["style-src"] == f"'sha256-{digest}'"
    assert set(policy) == {"default-src", "style-src", "base-uri", "form-action", "frame-ancestors"}


def test_the_response_is_html_with_that_header() -> None:
    response = docs(["textcraft"])
    assert response.content_type == "text/html"
    assert response.headers["Content-Security-Policy"] == HEADERS["Content-Security-Policy"]
    assert response.text == page(["textcraft"])


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: endpoint.name)
def test_a_curl_line_is_one_command_without_places_left_open(endpoint: Endpoint) -> None:
    words = shlex.split(curl(endpoint))
    assert words[:2] == ["curl", "-s"]
    url = next(word for word in words if word.startswith("$HUB"))
    assert "{" not in url
    assert ("-d" in words) == (endpoint.body is not None)
