"""The hub from its start to its end: which environments, what listens where, and how it stops."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager

from aiohttp import web

from common.aio import background
from common.errors import ConfigurationError, PreflightError
from envhub import registry
from envhub.agentgym.door import mount
from envhub.config import TOKEN_VARIABLE, HubConfig
from envhub.connections import GuardedRunner
from envhub.doors import is_loopback_name
from envhub.pools import CATALOGUE, worker_pools
from envhub.refusal import HubRefusal
from envhub.sandbox import why_no_own_network
from envhub.server import HubServer
from envhub.session_table import Clock
from envhub.tokens import split, tokens

MIN_TOKEN = 16
"""Characters of a token that strangers may guess at."""
DRAIN_S = 10.0
"""Requests in flight may take this long to finish when the hub ends."""


@asynccontextmanager
async def serving(
    config: HubConfig, token: str = "", *, played: Iterable[str] = (), clock: Clock = time.monotonic
) -> AsyncIterator[HubServer]:
    """A hub that listens while the body runs; then it opens no sessions and lets requests in flight finish.

    `token` may be several, separated by commas, instead of those that `envhub.tokens` finds; `played` is
    served beside what the configuration says.
    ConfigurationError when it would listen beyond this machine without a token, or serve what does not exist;
    PreflightError when a port is taken, a worker cannot start, the kernel has no network for one, or one of
    `hub.environments` is not available.
    """
    known = split(token) or tokens(config)
    if not is_loopback_name(config.host):
        _check_tokens(known, config.host)
    names = served(config, played)
    if any(config.pool(name).network == "none" for name in (CATALOGUE, *names)):
        await asyncio.to_thread(_check_network)
    async with worker_pools(config, names) as pools:
        server = HubServer(config, pools, known, clock)
        await _check_available(server, config)
        async with AsyncExitStack() as sites:
            try:
                server.url = await _listen(sites, server, server.application, config, config.port, "hub.port")
                for name, port in config.ports.items():
                    server.own_urls[name] = await _listen(
                        sites, server, server.alone(name), config, port, f"hub.ports.{name}"
                    )
                async with background(server.keep_swept()):
                    yield server
            finally:
                server.sessions.is_draining = True


def served(config: HubConfig, played: Iterable[str] = ()) -> tuple[str, ...]:
    """The environments of the hub, in the order given.

    ConfigurationError for one that does not exist, for settings of one that is not served, and for two whose
    names are the same path to AgentGym's clients.
    """
    for name in config.environments:
        if name not in config.backends:
            _check_name("hub.environments", name)
    found = tuple(dict.fromkeys((*(config.environments or registry.names()), *config.backends, *played)))
    for field, settings in (("ports", config.ports), ("pools", config.pools), ("dialects", config.dialects)):
        for name in settings:
            if name not in found:
                raise ConfigurationError(
                    f"hub.{field}: {name[:80]!r} is not served; there are {', '.join(found)}"
                )
    mounted: dict[str, str] = {}
    for name in found:
        other = mounted.setdefault(mount(name), name)
        if other != name:
            raise ConfigurationError(f"hub.environments: {other!r} and {name!r} are both /{mount(name)}")
    return found


def _check_tokens(known: tuple[str, ...], host: str) -> None:
    if not known:
        raise ConfigurationError(
            f"hub.host = {host!r}: beyond this machine the hub needs a token; set {TOKEN_VARIABLE} or "
            "hub.token_file"
        )
    if min(map(len, known)) < MIN_TOKEN:
        raise ConfigurationError(
            f"hub.host = {host!r}: a token has {min(map(len, known))} characters; beyond this machine "
            f"it has at least {MIN_TOKEN}; run: openssl rand -hex 32"
        )


def _check_network() -> None:
    if why := why_no_own_network():
        raise PreflightError(why)


def _check_name(field: str, name: str) -> None:
    try:
        registry.check_name(name)
    except ConfigurationError as error:
        raise ConfigurationError(f"{field}: {error}") from None


async def _check_available(server: HubServer, config: HubConfig) -> None:
    """What was asked for by name can be played here; PreflightError with the reason otherwise."""
    for name in config.environments:
        try:
            await server.sessions.describe(name)
        except HubRefusal as refusal:
            told = (
                refusal.message if refusal.code != "environment_fault" else f"environment {name}: {refusal}"
            )
            raise PreflightError(told) from None


async def _listen(
    sites: AsyncExitStack,
    server: HubServer,
    application: web.Application,
    config: HubConfig,
    port: int,
    field: str,
) -> str:
    """Serve the application until the stack is left; its URL."""
    host = config.host
    runner = GuardedRunner(application, server.gate, config, DRAIN_S)
    await runner.setup()
    sites.push_async_callback(runner.cleanup)
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError as error:
        # asyncio wraps the system's own words; name resolution has negative numbers and words of its own.
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
        raise PreflightError(
            f"hub.host = {host!r}, {field} = {port}: cannot listen there: {reason}"
        ) from error
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{runner.addresses[0][1]}"
