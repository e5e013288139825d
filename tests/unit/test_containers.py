"""The image's recipe and the manifests, without a cluster: what they name is there, and they give no right too many."""

from __future__ import annotations

import fnmatch
import re
import socket
import tomllib
from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
import yaml

from copytool import __version__
from copytool.cli.arguments import parse_arguments
from copytool.cli.settings import copy_settings, intercept_settings

ROOT = Path(__file__).parents[2]
CONTAINERFILE = (ROOT / "containers/Containerfile").read_text()
RIGHTS = {"copy": {"NET_ADMIN", "NET_RAW"}, "intercept": {"NET_RAW"}, "drop-answers": {"NET_ADMIN"}}


def documents() -> list[dict[str, Any]]:
    """All that `kubectl apply -k` applies."""
    directory = ROOT / "containers/kubernetes"
    names = yaml.safe_load((directory / "kustomization.yml").read_text())["resources"]
    assert {path.name for path in directory.glob("*.yml")} == {*names, "kustomization.yml"}
    return [document for name in names for document in yaml.safe_load_all((directory / name).read_text())]


def of_kind(kind: str) -> dict[str, Any]:
    (found,) = [document for document in documents() if document["kind"] == kind]
    return found


def pods() -> Iterator[dict[str, Any]]:
    """The specifications of pods."""
    for kind in ("DaemonSet", "Deployment"):
        yield of_kind(kind)["spec"]["template"]["spec"]


def containers() -> list[dict[str, Any]]:
    return [container for pod in pods() for container in [*pod.get("initContainers", []), *pod["containers"]]]


FILES: dict[str, str] = of_kind("ConfigMap")["data"]


@pytest.mark.parametrize("container", containers(), ids=lambda container: container["name"])
def test_containers_may_do_what_they_need_and_nothing_else(container: dict[str, Any]) -> None:
    security = container["securityContext"]
    assert set(security["capabilities"]["add"]) == RIGHTS[container["name"]]
    assert security["capabilities"]["drop"] == ["ALL"]
    assert security["readOnlyRootFilesystem"] is True
    assert security["allowPrivilegeEscalation"] is False
    assert "privileged" not in security
    assert {"requests", "limits"} <= container["resources"].keys()
    assert container["image"] == f"copytool:{__version__}"


@pytest.mark.parametrize("pod", list(pods()), ids=["copy", "intercept"])
def test_pods_use_the_nodes_network_and_no_token(pod: dict[str, Any]) -> None:
    assert pod["hostNetwork"] is True
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"] == {"seccompProfile": {"type": "RuntimeDefault"}}
    assert pod["nodeSelector"].keys() == {"copytool"}


@pytest.mark.parametrize("pod", list(pods()), ids=["copy", "intercept"])
def test_what_is_mounted_is_there(pod: dict[str, Any]) -> None:
    """Volumes of the pod, and files of the ConfigMap; only the control socket's directory can be written."""
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    for container in [*pod.get("initContainers", []), *pod["containers"]]:
        for mount in container["volumeMounts"]:
            volume = volumes[mount["name"]]
            assert mount.get("readOnly", False) is ("emptyDir" not in volume)
            if "configMap" in volume:
                assert mount["subPath"] in FILES
                assert mount["mountPath"] in [*container.get("args", []), *container.get("command", [])]


@pytest.mark.parametrize("kind", ["DaemonSet", "Deployment"])
def test_selectors_find_their_pods(kind: str) -> None:
    spec = of_kind(kind)["spec"]
    assert spec["selector"]["matchLabels"] == spec["template"]["metadata"]["labels"]


@pytest.fixture
def configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Settings that copytool makes of the ConfigMap's files. Names of the cluster's DNS stand for an address."""
    answer = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.168.50.102", 0))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *arguments, **options: answer)

    def settings(command: str) -> Any:
        path = tmp_path / f"{command}.toml"
        path.write_text(FILES[path.name])
        make = {"copy": copy_settings, "intercept": intercept_settings}[command]
        return make(parse_arguments([command, "--config", str(path)])[1])

    return settings


def test_copytool_understands_the_configuration(configured: Any) -> None:
    copy, intercept = configured("copy"), configured("intercept")
    assert copy.intercepts == [("192.168.50.102", intercept.port)]
    assert copy.tls is not None
    assert intercept.tls is not None
    (container,) = [container for container in containers() if container["name"] == "copy"]
    limit = int(container["resources"]["limits"]["memory"].removesuffix("Mi"))
    assert tomllib.loads(FILES["copy.toml"])["copy"]["memory_limit"] * 1.25 <= limit, "the kernel would kill it first"


def test_the_service_is_what_copy_connects_to() -> None:
    service, copy = of_kind("Service"), tomllib.loads(FILES["copy.toml"])["copy"]
    assert copy["intercept"] == [f"{service['metadata']['name']}.{service['metadata']['namespace']}.svc"]
    assert service["spec"]["selector"] == of_kind("Deployment")["spec"]["selector"]["matchLabels"]
    (port,) = service["spec"]["ports"]
    (intercept,) = [container for container in containers() if container["name"] == "intercept"]
    assert [(port["targetPort"], port["port"])] == [(own["name"], own["hostPort"]) for own in intercept["ports"]]


def test_the_answers_to_all_client_networks_are_dropped() -> None:
    dropped = re.findall(r"ip daddr (\S+) counter drop", FILES["answers.nft"])
    wanted = tomllib.loads(FILES["copy.toml"])["copy"]["client_network"]
    assert list(map(ip_network, dropped)) == list(map(ip_network, wanted))


def test_what_the_image_is_made_of_is_there_and_not_ignored() -> None:
    """Each source of a COPY is in the checkout, and .containerignore lets it through; nothing else gets in."""
    lines = (ROOT / ".containerignore").read_text().split()
    allowed = [line.removeprefix("!") for line in lines if line.startswith("!")]
    copied = [word for line in re.findall(r"^COPY (?!--from)(.*) \S+$", CONTAINERFILE, re.M) for word in line.split()]
    assert sorted(copied) == sorted(allowed)
    assert all((ROOT / name).exists() for name in copied)
    assert lines[0] == "*"
    assert any(fnmatch.fnmatch("copytool/wire/segment.so", line.removeprefix("**/")) for line in lines[1:])


def test_the_image_takes_its_packages_from_the_lock() -> None:
    """What is named is all that copytool depends on and is built with."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    named = set(re.findall(r"locked '(.*?)'", CONTAINERFILE))
    lists = [project["build-system"]["requires"], project["project"]["dependencies"]]
    assert named == {r"\|".join(sorted(re.split(r"[<>=]", entry)[0] for entry in entries)) for entries in lists}


def test_the_base_is_a_short_name() -> None:
    """Whoever builds it chooses the registry."""
    assert re.findall(r"^FROM (\S+)", CONTAINERFILE, re.M) == ["${BASE}", "${BASE}"]
    assert re.findall(r"^ARG BASE=(.*)", CONTAINERFILE, re.M) == ["debian:13-slim"]
