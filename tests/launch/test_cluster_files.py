"""The files for clusters say what this version understands; no cluster is asked."""

import io
import os
import re
import subprocess
import tomllib
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest
import yaml

from common.bus.keys import KeyRing
from common.config import load
from launch import keys
from launch.cli import COMMANDS, ROLES
from launch.config import RunConfig
from launch.hosts.placement import parse_hosts

LAUNCH = Path(__file__).parents[2] / "launch"
DOCUMENT = LAUNCH.parent / "docs" / "multinode.md"
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
        for port in each["spec"].get("ports", ())
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


def as_documented(name: str, folder: Path) -> dict[str, bytes]:
    """The secret that the documented command makes: a file under its name, of a folder its plain files."""
    (command,) = re.findall(rf"kubectl create secret generic {name} (.*)", DOCUMENT.read_text())
    found: dict[str, bytes] = {}
    for given in re.findall(r"--from-file=(\S+)", command):
        path = folder / given
        for file in [path] if path.is_file() else [each for each in path.iterdir() if each.is_file()]:
            assert file.name not in found, "kubectl refuses a key that is there already"
            found[file.name] = file.read_bytes()
    return found


def as_kubernetes_mounts(secret: dict[str, Any], content: dict[str, bytes], folder: Path) -> None:
    """A mounted secret: files in a dated folder, `..data` leads there, each name into `..data`."""
    dated = folder / "..2026_01_01"
    for item in secret["items"]:
        file = dated / item["path"]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content[item["key"]])
        file.chmod(secret["defaultMode"])
    (folder / "..data").symlink_to(dated.name)
    for name in {Path(item["path"]).parts[0] for item in secret["items"]}:
        (folder / name).symlink_to(Path("..data") / name)


def test_keys_can_be_used_as_kubernetes_mounts_them(tmp_path: Path) -> None:
    with redirect_stdout(io.StringIO()):
        keys.make(tmp_path / "keys", ["actors"])
    secrets = {
        volume["secret"]["secretName"]: volume["secret"]
        for each in all_documents()
        for volume in each.get("spec", {}).get("template", {}).get("spec", {}).get("volumes", ())
        if "secret" in volume
    }
    for name, place in (("learner", "learner"), ("actors", "hosts/actors")):
        mounted, secret = tmp_path / name, f"pronghorn-keys-{name}"
        as_kubernetes_mounts(secrets[secret], as_documented(secret, tmp_path), mounted)
        ring = KeyRing(str(mounted))
        ring.check_admitted()
        assert ring.own == KeyRing(str(tmp_path / "keys" / place)).own
        assert list(ring.admitted().values()) == ["actors"]
        assert ring.peer("learner") == KeyRing(str(tmp_path / "keys" / "learner")).own.public


def test_learner_and_actors_wait_for_the_file_that_the_preparation_writes(cluster: RunConfig) -> None:
    file = str(cluster.run.folder.path / "prepared")
    pods = {each["metadata"]["name"]: each["spec"]["template"]["spec"] for each in all_documents()
            if "template" in each.get("spec", {})}  # fmt: skip
    assert pods["pronghorn-prepare"]["containers"][0]["args"][0].endswith(f" && touch {file}")
    for name in ("pronghorn-learner", "pronghorn-actors"):
        assert f"until [ -f {file} ]" in pods[name]["initContainers"][0]["command"][2]


def test_who_sends_what_it_kept_has_the_same_name_when_it_comes_back() -> None:
    (actors,) = (
        each for each in documents(LAUNCH / "kubernetes" / "actors.yaml") if each["kind"] != "Service"
    )
    assert actors["kind"] == "StatefulSet"
    (actor,) = actors["spec"]["template"]["spec"]["containers"]
    assert "--name=$(POD_NAME)" in actor["args"]


def test_an_image_has_the_packages_and_nothing_that_lies_beside_them() -> None:
    lines = (LAUNCH / "kubernetes" / "Dockerfile").read_text().splitlines()
    copied = {name for line in lines if line.startswith("COPY ") for name in line.split()[1:-1]}
    project = tomllib.loads((LAUNCH.parent / "pyproject.toml").read_text())
    packages = {name.rstrip("*") for name in project["tool"]["setuptools"]["packages"]["find"]["include"]}
    assert copied == packages | {"pyproject.toml", "README.md", "LICENSE"}


def test_skypilot_runs_the_head_alone_with_hosts_that_can_be_read(tmp_path: Path) -> None:
    (task,) = documents(LAUNCH / "skypilot.yaml")
    assert task.keys() <= {"name", "num_nodes", "resources", "workdir", "file_mounts", "envs", "setup", "run"}
    assert task["resources"].keys() <= {"accelerators", "disk_size"}
    assert (LAUNCH.parent / task["envs"]["CONFIG"]).is_file()
    fake = tmp_path / "launch" / "multinode.sh"
    fake.parent.mkdir()
    fake.write_text('#!/bin/sh\necho "$PRONGHORN_SSH|$*"\n')
    fake.chmod(0o755)
    for rank, told in (("0", r"ssh -i \S+/\.ssh/pronghorn .*\|hosts configs/\S+\n"), ("1", "")):
        given = {"SKYPILOT_NODE_RANK": rank, "SKYPILOT_NODE_IPS": "10.0.0.1\n10.0.0.2\n10.0.0.3"}
        ran = subprocess.run(
            ["bash", "-c", task["run"]], cwd=tmp_path, env=os.environ | task["envs"] | given,
            check=True, capture_output=True, text=True, timeout=20,
        )  # fmt: skip
        assert re.fullmatch(told, ran.stdout)
    placement = parse_hosts((tmp_path / "hosts").read_text(), "hosts")
    assert [host.target for host in placement.hosts] == ["localhost", "10.0.0.2", "10.0.0.3"]
    assert [host.address for host in placement.hosts] == ["10.0.0.1", "10.0.0.2", "10.0.0.3"]
