"""Before a run: which hubs answer, and whether they play the same."""

import asyncio
from collections.abc import Iterable

from common.errors import EnvironmentFault
from envhub.client import HubClient
from envhub.config import HubConfig
from envhub.tokens import own_token

ANSWER_S = 60.0
"""A hub that is up may have to start the first worker of an environment."""


async def survey(config: HubConfig, environments: Iterable[str]) -> dict[str, dict[str, str] | str]:
    """URL of each hub -> the digests of the environments, or why it cannot play them; asked side by side.

    ConfigurationError for a token file that cannot be used.
    """
    wanted, token = tuple(environments), own_token(config)

    async def ask(url: str) -> dict[str, str] | str:
        async with HubClient(url, deadline_s=ANSWER_S, calls_per_s=100, max_retries=0, token=token) as hub:
            try:
                await hub.load(config.probe_s)
                return {name: (await hub.describe(name)).digest for name in wanted}
            except EnvironmentFault as fault:
                return str(fault)

    async with asyncio.TaskGroup() as group:
        asked = {url: group.create_task(ask(url)) for url in config.all_urls}
    return {url: task.result() for url, task in asked.items()}
