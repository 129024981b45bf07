"""Who may enter: tokens, their sessions, and pages of other origins."""

import pytest

from common.errors import ConfigurationError
from envhub.config import HubConfig
from envhub.serving import serving
from tests.envhub.browser import TASK, hub


async def test_with_a_token_nobody_enters_without_it() -> None:
    async with hub(token="sesame") as (_, browse):
        assert (await browse("GET", "/healthz"))[0] == 200
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "sesame\u00e9"}):
            assert await browse.refused(401, "POST", "/v1/sessions", TASK, headers=headers) == "unauthorized"
            assert await browse.refused(401, "GET", "/metrics", headers=headers) == "unauthorized"
        status, _ = await browse("POST", "/v1/sessions", TASK, headers={"Authorization": "Bearer sesame"})
        assert status == 200


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])
async def test_beyond_this_machine_the_hub_needs_a_token(host: str) -> None:
    with pytest.raises(ConfigurationError, match="needs a token; set PRONGHORN_HUB_TOKEN"):
        async with serving(HubConfig(host=host)):
            pass


async def test_sessions_belong_to_the_token_that_opened_them() -> None:
    async with hub(token="sesame, tahini") as (_, browse):
        mine = {"headers": {"Authorization": "Bearer sesame"}}
        theirs = {"headers": {"Authorization": "Bearer tahini"}}
        _, opening = await browse("POST", "/v1/sessions", TASK, **mine)
        path = f"/v1/sessions/{opening['session']}"
        turn = {"index": 0, "action": "guess 1"}
        assert await browse.refused(404, "POST", f"{path}/step", turn, **theirs) == "unknown_session"
        assert await browse.refused(404, "GET", f"{path}/render", **theirs) == "unknown_session"
        assert await browse.refused(404, "DELETE", path, **theirs) == "unknown_session"
        batch = {"steps": [{"session": opening["session"], **turn}]}
        _, answer = await browse("POST", "/v1/step", batch, **theirs)
        assert answer["results"][0]["error"]["code"] == "unknown_session"
        assert (await browse("POST", f"{path}/step", turn, **mine))[0] == 200


async def test_a_token_may_come_as_the_password_of_a_url() -> None:
    async with hub(token="sesame") as (server, browse):
        url = server.url.replace("http://", "http://anyone:sesame@")
        async with browse._http.get(f"{url}/v1/environments/guess_number") as response:
            assert response.status == 200
        async with browse._http.post(f"{url}/guess_number/create") as response:
            assert isinstance((await response.json())["id"], int)


async def test_a_page_of_another_origin_cannot_play() -> None:
    async with hub(cors_origins=["http://viewer.example"]) as (server, browse):
        foreign = {"headers": {"Origin": "http://evil.example"}}
        assert await browse.refused(403, "POST", "/v1/sessions", TASK, **foreign) == "foreign_origin"
        assert await browse.refused(403, "POST", "/guess_number/create", **foreign) == "foreign_origin"
        rebound = {"headers": {"Origin": "http://evil.example", "Host": "evil.example"}}
        assert await browse.refused(403, "POST", "/v1/sessions", TASK, **rebound) == "foreign_origin"
        for origin in (server.url, "http://viewer.example"):
            status, _ = await browse("POST", "/v1/sessions", TASK, headers={"Origin": origin})
            assert status == 200
