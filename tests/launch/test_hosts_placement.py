"""The hosts of a run: what a line says, what is refused, who fetches weights from whom."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from common.aio import background
from common.errors import ConfigurationError, PreflightError
from common.run_directory import RunDirectory
from launch.hosts import joining, settings
from launch.hosts.coordinator import Coordinator
from launch.hosts.joining import hosts_file, join
from launch.hosts.link import Link
from launch.hosts.member import Member
from launch.hosts.placement import Host, parse_hosts, read_hosts, slurm_hosts
from launch.view import View
from tests.launch.making import run_config


def test_a_plain_list_has_a_leading_host_and_actors_with_relays() -> None:
    placement = read_hosts("a b c")
    assert [sorted(host.roles) for host in placement.hosts] == [
        ["actors", "hub", "learner"],
        ["actors", "relay"],
        ["actors", "relay"],
    ]
    assert placement.lead.name == "a"


def test_a_file_says_who_does_what_where(tmp_path: Path) -> None:
    file = tmp_path / "hosts"
    file.write_text(
        "# comment\n"
        "one address=10.0.0.1 roles=learner,hub\n\n"
        "two roles=learner,actors:3 ssh=me@two.lan root=/opt/p directory=/big python=/usr/bin/python3 # gpu\n"
    )
    one, two = read_hosts(str(file)).hosts
    assert one == Host("one", frozenset({"learner", "hub"}), address="10.0.0.1")
    assert (two.num_actors, two.target, two.root, two.directory) == (3, "me@two.lan", "/opt/p", "/big")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a\na", r"hosts:2: 'a' is there twice"),
        ("a\n-oProxyCommand=x", r"hosts:2: '-oProxyCommand=x' is no name of a host"),
        ("a\n\nb ssh=-oProxyCommand=x", r"hosts:3: ssh='-oProxyCommand=x' begins with a dash"),
        (
            "a\nb roles=actor",
            r"hosts:2: roles=actor: 'actor'; allowed are learner, hub, actors, actors:NUMBER",
        ),
        ("a roles=hub:2", r"hosts:1: roles=hub:2: 'hub:2'; allowed"),
        ("a roles=actors:0", r"hosts:1: roles=actors:0"),
        ("a port=1", r"hosts:1: 'port=1': allowed are address="),
        ("a\nlearner", r"hosts:2: 'learner' is no name of a host"),
        ("a\n" + 64 * "b", r"hosts:2: 'b+' is no name of a host; .* at most 63"),
        ("a roles=learner,hub\nb roles=relay", r"hosts: no host has the role 'actors'"),
        ("a roles=learner,hub,actors,relay", r"hosts: a leads the learner and needs no relay"),
        ("", r"hosts: no host has the role 'learner'"),
    ],
)
def test_a_bad_line_is_refused_with_its_number(text: str, told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        parse_hosts(text, "hosts")


def test_relays_form_a_tree_below_the_learner() -> None:
    placement = read_hosts(" ".join(f"h{index}" for index in range(26)))
    relays = placement.having("relay")
    parents = [placement.parent(relay) for relay in relays]
    assert parents[:4] == [None] * 4
    for relay in relays[:5]:
        assert parents.count(relay) == 4
    assert all(relays.index(parent) < index for index, parent in enumerate(parents) if parent)


def test_a_plain_list_may_be_as_long_as_a_cluster_is_wide() -> None:
    assert len(read_hosts(" ".join(f"node{index:04}" for index in range(2000))).hosts) == 2000


def test_outside_of_slurm_hosts_must_be_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    with pytest.raises(PreflightError, match="no hosts were given, and this is no Slurm allocation"):
        slurm_hosts()


def test_a_host_that_others_cannot_reach_needs_an_address() -> None:
    with pytest.raises(PreflightError, match=r"localhost: its address is 127\.0\.0\.1, which no other"):
        settings.resolved_address(Host("localhost"), is_alone=False)
    assert settings.resolved_address(Host("localhost"), is_alone=True) == "127.0.0.1"


def test_each_host_is_told_its_own_folder_keys_and_neighbours(tmp_path: Path) -> None:
    placement = parse_hosts(
        "a roles=learner,hub\nb roles=learner,hub\n"
        + "\n".join(f"c{i} roles=actors:2,relay" for i in range(5)),
        "hosts",
    )
    network = settings.Network()
    for number, host in enumerate(placement.hosts, start=1):
        network.addresses[host.name] = f"10.0.0.{number}"
        for index, what in enumerate(settings.wanted_ports(run_config(tmp_path), placement, host)):
            network.ports[host.name, what] = 4000 + index
    given = {
        host.name: settings.host_config(run_config(tmp_path), placement, network, host, f"/data/{host.name}")
        for host in placement.hosts
    }
    assert given["c4"].relay.parent == "c0@10.0.0.3:4000"
    assert given["c0"].relay.parent == ""
    assert given["c0"].bus.host == given["a"].bus.host == "10.0.0.1"
    assert given["c0"].bus.keys == "/data/c0/trial/keys/hosts/c0"
    assert given["b"].hub.host == "10.0.0.2"
    assert given["c3"].hub.urls == (f"http://10.0.0.1:{network.ports['a', 'hub']}", "http://10.0.0.2:4000")
    assert given["a"].learner.num_hosts == 2
    assert given["c2"].actor.num_actors == 2


def test_a_host_may_join_a_run_with_actors_only(tmp_path: Path) -> None:
    folder = RunDirectory(tmp_path)
    with pytest.raises(PreflightError, match="no run over several hosts"):
        join("d", folder)
    hosts_file(tmp_path).parent.mkdir()
    hosts_file(tmp_path).write_text("a\nb\n")
    join("d address=10.0.0.9", folder)
    assert hosts_file(tmp_path).read_text() == "a\nb\nd address=10.0.0.9\n"
    with pytest.raises(ConfigurationError, match="e: roles=hub: only actors and relay may join"):
        join("e roles=hub", folder)
    assert hosts_file(tmp_path).read_text() == "a\nb\nd address=10.0.0.9\n"


async def test_a_line_that_appears_is_taken_in_and_one_that_disappears_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(joining, "LOOK_S", 0.01)
    file = hosts_file(tmp_path)
    file.parent.mkdir()
    file.write_text("a\nb\n")
    joined: list[str] = []
    told: asyncio.Queue[str] = asyncio.Queue()

    async def take_in(host: Host) -> None:
        joined.append(host.name)

    async with background(joining.follow_hosts(tmp_path, parse_hosts("a\nb", "x"), take_in, told.put_nowait)):
        await asyncio.sleep(0)
        join("d", RunDirectory(tmp_path))
        assert await told.get() == "d joins"
        file.write_text("a\nd\n")
        assert await told.get() == f"{file}: b stays until the run is started again without it"
    assert joined == ["d"]


async def test_a_host_that_could_not_be_taken_in_is_tried_again_when_the_file_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(joining, "LOOK_S", 0.01)
    hosts_file(tmp_path).parent.mkdir()
    hosts_file(tmp_path).write_text("a\nb\n")
    told: asyncio.Queue[str] = asyncio.Queue()

    async def take_in(host: Host) -> None:
        if not host.address:
            raise PreflightError(f"{host.name}: no address is known")

    async with background(joining.follow_hosts(tmp_path, parse_hosts("a\nb", "x"), take_in, told.put_nowait)):
        await asyncio.sleep(0)
        join("d", RunDirectory(tmp_path))
        assert await told.get() == "d: no address is known"
        hosts_file(tmp_path).write_text("a\nb\nd address=10.0.0.9\n")
        assert await told.get() == "d joins"


class UnfitMember(Member):
    """Connected at once, to a host that lacks something."""

    def __init__(self, host: Host) -> None:
        super().__init__(host, "/runs", 1.0, is_slurm=False)

    async def connected(self) -> Link:
        return UnfitLink(self.host)


class UnfitLink(Link):
    def __init__(self, host: Host) -> None:
        self.host = host

    async def request(self, do: str, **arguments: Any) -> Any:
        assert do == "check"
        return ["the package vllm is missing"]


async def test_a_host_that_joins_and_is_not_fit_plays_nothing_and_the_run_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config, begun = run_config(tmp_path), list[object]()
    coordinator = Coordinator(config, read_hosts("a b"), "token", View(config), is_slurm=False)
    member = UnfitMember(Host("d", frozenset({"actors"})))
    await coordinator._populate_when_fit(member, dict.fromkeys(("hub", "relay", "actors"), begun.append))
    assert begun == []
    assert "pronghorn: d: the package vllm is missing" in capsys.readouterr().out
