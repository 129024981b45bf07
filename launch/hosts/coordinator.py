"""A run over several hosts: connects to all, checks them, hands out what they need, starts and watches.

It keeps one connection per host (`member.py`) and, on top of the connections, one loop for every process of
the run: hubs, relays, actors, the learner. A loop that loses its host waits until the host is back. Leaving
goes the other way round: the learner first, then actors, relays, hubs, and at last the connections.
"""

import asyncio
import io
import logging
import secrets
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import redirect_stdout, suppress
from pathlib import Path
from typing import Any

import tomli_w

from common.aio import background
from common.errors import PreflightError, PronghornError
from launch import keys
from launch.config import RunConfig
from launch.hosts import settings
from launch.hosts.copying import copy, send
from launch.hosts.joining import follow_hosts
from launch.hosts.key_files import follow_keys, send_keys
from launch.hosts.learners import Learners, blind_hosts
from launch.hosts.link import HostLost, Link, RemoteLauncher
from launch.hosts.member import Member
from launch.hosts.placement import Host, Placement
from launch.hosts.roles import HostRoles
from launch.processes import Command
from launch.report import complete_summary
from launch.run_folder import StageClock
from launch.supervise import Supervisor
from launch.view import View

log = logging.getLogger(__name__)

Begin = Callable[[Coroutine[Any, Any, None]], None]
MIRRORED = ("metrics.jsonl", "status.json", "stages.json", "summary.json")
"""What the learner's host writes and the coordinator shows."""
POLICY_ZERO = ["model", "warm_start"]


class Coordinator:
    """One run; `run` returns when it is trained."""

    def __init__(
        self, config: RunConfig, placement: Placement, token: str, view: View, *, is_slurm: bool
    ) -> None:
        self._config = config
        self._placement = placement
        self._token = token
        self._view = view
        self._is_slurm = is_slurm
        self._folder = config.run.folder.path
        self._clock = StageClock(config.run.folder)
        self._network = settings.Network()
        self._nonce = f"hosts/.{secrets.token_hex(8)}"
        self._members: dict[str, Member] = {}
        self._restarts: Counter[str] = Counter()
        self._has_begun = asyncio.Event()
        """Set when every host was found fit; those that join later need not wait."""
        self._policy: dict[str, str] = {}
        """The files of policy zero, with their checksums."""
        self._has_policy = asyncio.Event()
        """Set when policy zero is on the leading host."""

    async def run(self) -> None:
        """Prepare and train; PronghornError with a line for every problem that keeps it from beginning."""
        mark = self._folder / self._nonce
        mark.parent.mkdir(parents=True, exist_ok=True)
        mark.touch()
        try:
            async with background(self._view.follow()) as begin_connection:
                for host in self._placement.hosts:
                    await self._locate(host)
                for host in self._placement.hosts:
                    self._add(host, begin_connection)
                self._refuse([await member.first for member in self._members.values()])
                await self._begin()
                link = self._members[self._placement.lead.name].live()
                if await link.request("is_trained", steps=self._config.learner.steps):
                    return
                async with background() as hubs, background() as relays, background() as actors:
                    levels = {"hub": hubs, "relay": relays, "actors": actors}
                    for member in list(self._members.values()):
                        self._populate(member, levels)

                    async def join(host: Host) -> None:
                        await self._join(host, begin_connection, levels)

                    joining = follow_hosts(self._folder, self._placement, join, self._view.say)
                    async with background(joining, follow_keys(self._folder, self._deliver_to_all)):
                        await self._work()
        finally:
            mark.unlink(missing_ok=True)

    async def _work(self) -> None:
        """The stages, by the hosts that are there."""
        lead = self._placement.lead
        self._view.stage("preparing")
        link = await self._lead_link()
        await self._supervisor(link, MIRRORED).finish(self._roles(lead).prepare())
        self._policy = await link.request("digest", names=POLICY_ZERO)
        self._has_policy.set()
        self._view.stage("training")
        learners = [self._members[host.name] for host in self._placement.having("learner")]
        with self._clock.measure("training"):
            await Learners(
                learners,
                {member.host.name: self._roles(member.host).learner() for member in learners},
                self._bring_policy,
                lambda link: RemoteLauncher(link, self._folder, MIRRORED if link.host == lead else ()),
                self._config.supervision,
                self._view.say,
                self._restarts,
            ).train()
        await self._complete(await self._lead_link())

    async def _lead_link(self) -> Link:
        lead = self._members[self._placement.lead.name]
        return await lead.back(self._config.supervision.learner_host_s)

    # --- beginning ---------------------------------------------------------------------------------
    async def _locate(self, host: Host) -> None:
        is_alone = self._placement.hosts == (host,)
        address = await asyncio.to_thread(settings.resolved_address, host, is_alone=is_alone)
        self._network.addresses[host.name] = address

    def _add(self, host: Host, begin: Begin) -> Member:
        directory = host.directory or self._config.run.directory
        silence_s = self._config.supervision.host_silence_s
        member = self._members[host.name] = Member(host, directory, silence_s, is_slurm=self._is_slurm)
        begin(member.stay(self._config.run.name, self._folder, self._nonce, self._deliver, self._view.say))
        return member

    async def _begin(self) -> None:
        """Find every host fit, agree on ports, see that all reach each other, make keys."""
        links = {name: member.live() for name, member in self._members.items()}
        found: list[str] = []
        for member in self._members.values():
            found += await self._check(member, links[member.host.name])
        learners = [links[host.name] for host in self._placement.having("learner")]
        lead = self._members[self._placement.lead.name]
        found += await blind_hosts(learners, Path(lead.directory) / self._config.run.name)
        self._refuse(found)
        for member in self._members.values():
            await self._hold_ports(member, links[member.host.name])
        found = []
        for member in self._members.values():
            found += await self._unreached(member, links[member.host.name])
        for link in links.values():
            await link.request("unlisten")
        self._refuse(found)
        await asyncio.to_thread(self._make_keys)
        self._has_begun.set()

    @staticmethod
    def _refuse(problems: list[str]) -> None:
        if found := [text for text in problems if text]:
            raise PreflightError("\npronghorn: ".join(found))

    async def _check(self, member: Member, link: Link) -> list[str]:
        roles = [*member.host.roles, *(["lead"] if member.host == self._placement.lead else [])]
        values = self._config.model_dump()
        values["run"]["directory"] = member.directory
        problems = await link.request("check", config=values, roles=roles)
        return [f"{member.host.name}: {problem}" for problem in problems]

    async def _hold_ports(self, member: Member, link: Link) -> None:
        wanted = settings.wanted_ports(self._config, self._placement, member.host)
        address = self._network.addresses[member.host.name]
        held = await link.request("listen", address=address, ports=list(wanted.values()))
        for what, port in zip(wanted, held, strict=True):
            self._network.ports[member.host.name, what] = port

    async def _unreached(self, member: Member, link: Link) -> list[str]:
        found = []
        for peer, what in settings.peers(self._placement, member.host):
            address, port = self._network.addresses[peer.name], self._network.ports[peer.name, what]
            if reason := await link.request("probe", address=address, port=port):
                found.append(
                    f"{member.host.name} does not reach {address}:{port} ({what} of {peer.name}): {reason}"
                )
        return found

    def _make_keys(self) -> None:
        with redirect_stdout(io.StringIO()):
            keys.make(self._folder / "keys", [host.name for host in self._placement.hosts])

    # --- what a host needs -------------------------------------------------------------------------
    def _host_config(self, host: Host) -> RunConfig:
        directory = self._members[host.name].directory
        return settings.host_config(self._config, self._placement, self._network, host, directory)

    def _roles(self, host: Host) -> HostRoles:
        return HostRoles(host.name, self._host_config(host), self._folder, self._token)

    async def _deliver(self, member: Member, link: Link) -> None:
        """Its own configuration and its own keys; the learner's too where it leads."""
        await self._has_begun.wait()
        name = member.host.name
        async with member.delivering:
            if (name, "relay") not in self._network.ports and "relay" in member.host.roles:
                await self._hold_ports(member, link)  # it joined while the run went on
                await link.request("unlisten")
            file = self._folder / "hosts" / f"{name}.toml"
            config = self._host_config(member.host)
            file.write_text(tomli_w.dumps(config.model_dump(mode="json", exclude_none=True)))
            await send(link, self._folder, [f"hosts/{name}.toml"])
            is_lead = member.host == self._placement.lead
            await send_keys(link, self._folder, (f"hosts/{name}", *(["learner"] if is_lead else [])))

    async def _deliver_to_all(self) -> None:
        """To all at once; who is away gets it on the way back. PronghornError when a host cannot take it."""
        there = [(member, member.link) for member in self._members.values() if member.link]
        done = await asyncio.gather(*(self._deliver(*one) for one in there), return_exceptions=True)
        for error in done:
            if error is not None and not isinstance(error, HostLost):
                raise error

    async def _bring_policy(self, link: Link) -> None:
        """Policy zero from the leading host, once over each connection."""
        await self._has_policy.wait()
        async with self._members[link.host.name].filling:
            if link.has_policy or link.host == self._placement.lead:
                return
            number = await copy(await self._lead_link(), link, self._policy)
            link.has_policy = True
        if number:
            log.info("copied policy zero host=%s files=%d", link.host.name, number)

    # --- processes ---------------------------------------------------------------------------------
    def _supervisor(self, link: Link, follows: tuple[str, ...] = ()) -> Supervisor:
        launcher = RemoteLauncher(link, self._folder, follows)
        return Supervisor(launcher, self._config.supervision, self._view.say, self._restarts)

    def _populate(self, member: Member, levels: dict[str, Begin]) -> None:
        """A loop for each process of a host, on the level where it belongs."""
        roles = self._roles(member.host)
        if "hub" in member.host.roles:
            levels["hub"](self._keep(member, roles.hub()))
        if "relay" in member.host.roles:
            levels["relay"](self._keep(member, roles.relay(), self._has_policy.wait))
        if "actors" in member.host.roles:
            for actor in roles.actors():
                levels["actors"](self._keep(member, actor, self._has_policy.wait, may_leave=True))

    async def _keep(
        self,
        member: Member,
        command: Command,
        after: Callable[[], Awaitable[Any]] | None = None,
        *,
        may_leave: bool = False,
    ) -> None:
        """Keep a process running wherever and whenever its host is there."""
        if after:
            await after()
        while True:
            link = await member.connected()
            try:
                if after:
                    await self._bring_policy(link)
                await self._supervisor(link).keep_running(command, may_leave=may_leave)
                return
            except HostLost:
                log.warning("lost process=%s with its host", command.name)

    async def _join(self, host: Host, begin: Begin, levels: dict[str, Begin]) -> None:
        """Take in a host while the run goes on; one that is not fit plays nothing."""
        await self._locate(host)
        others = tuple(other for other in self._placement.hosts if other.name != host.name)
        self._placement = Placement((*others, host))
        await asyncio.to_thread(self._make_keys)
        await self._deliver_to_all()  # who serves the new one must admit its key
        begin(self._populate_when_fit(self._add(host, begin), levels))

    async def _populate_when_fit(self, member: Member, levels: dict[str, Begin]) -> None:
        found = None
        while found is None:
            with suppress(HostLost):
                found = await self._check(member, await member.connected())
        for problem in found:
            self._view.say(problem)
        if not found:
            self._populate(member, levels)

    async def _complete(self, lead: Link) -> None:
        """The run's summary, here and on the leading host."""
        folder = self._config.run.folder
        if not folder.summary.exists():
            raise PronghornError(f"{lead.host.name}: the learner left before its last step")
        self._clock.seconds = {**StageClock(folder).seconds, **self._clock.seconds}
        complete_summary(folder, self._clock.seconds, dict(self._restarts))
        await send(lead, self._folder, ["summary.json"])
