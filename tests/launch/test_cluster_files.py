"""The files for clusters say what this version understands; no cluster is asked."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from common.config import load
from launch.cli import COMMANDS, ROLES
from launch.config import RunConfig
from launch.hosts.placement import parse_hosts

LAUNCH = Path(__file__).parents[2] / "launch"
FILES = sorted((LAUNCH / "kubernetes").glob("*.yaml"))


def documents(file: Path) -> list[dict[str, Any]]:
    return [document for document in yaml.safe_load_all(file.read_text()) if document]


def all_documents() -> list[dict[str, Any]]:
    return [document for file in FILES for document in documents(file)]


@pytest.fixture
def cluster(tmp_path: Path) -> RunConfig:
    data = next(each for each in all_documents() if each["kind"] == "ConfigMap")["data"]
    for name, text in data.items():
        (tmp_path / name).write_text(text)
    return load(RunConfig, [tmp_path / "run.toml", tmp_path / "cluster.toml"])


def test_the_cluster_configuration_is_one_and_names_as_many_pods_as_there_are(cluster: RunConfig) -> None:
    sets = {
        each["metadata"]["name"]: each["spec"] for each in all_documents() if each["kind"] == "StatefulSet"
    }
    assert cluster.learner.num_hosts == sets["pronghorn-learner"]["replicas"]
    assert len(cluster.hub.urls) == sets["pronghorn-hub"]["replicas"]
    assert (
        cluster.learner.rendezvous_address[0] == cluster.bus.host == "pronghorn-learner-0.pronghorn-learner"
    )


def test_ports_of_services_are_those_of_the_configuration(cluster: RunConfig) -> None:
    ports = {
        port["name"]: port["port"]
        for each in all_documents()
        if each["kind"] == "Service"
        for port in each["spec"]["ports"]
    }
    assert ports == {
        "ledger": cluster.bus.ledger_port,
        "policy": cluster.bus.policy_port,
        "weights": cluster.bus.weights_port,
        "rendezvous": cluster.learner.rendezvous_address[1],
        "http": cluster.hub.port,
    }


def test_every_container_runs_a_command_that_exists_with_volumes_that_exist() -> None:
    for each in all_documents():
        template = each.get("spec", {}).get("template")
        if template is None:
            continue
        volumes = {volume["name"] for volume in template["spec"]["volumes"]}
        for container in template["spec"]["containers"]:
            if "command" not in container:
                assert container["args"][0] in {*ROLES, *COMMANDS, "learner"}
            assert {mount["name"] for mount in container["volumeMounts"]} <= volumes
            assert template["spec"]["automountServiceAccountToken"] is False
        assert template["metadata"]["labels"]["app"] == "pronghorn"


def test_skypilot_writes_hosts_that_can_be_read() -> None:
    (task,) = documents(LAUNCH / "skypilot.yaml")
    assert re.search(r"\./launch/multinode\.sh hosts", task["run"])
    placement = parse_hosts(
        "node0 ssh=localhost address=10.0.0.1\nnode1 ssh=10.0.0.2 address=10.0.0.2", "hosts"
    )
    assert placement.lead.target == "localhost"
    assert (LAUNCH.parent / task["envs"]["CONFIG"]).is_file()
