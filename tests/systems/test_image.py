"""The image: what is in it, and a mirror of which both daemons run in containers, with the rights that are documented.

`scripts/test-image` builds the image and runs this.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from netns.hosts import COPY, Host, Network, ip, wait_until

from copytool import __version__

ROOT = Path(__file__).parents[2]
BUILDAH = os.environ.get("COPYTOOL_BUILDAH", "").split()
MANIFESTS = ROOT / "containers/kubernetes"
# What buildah gives by itself. Its `--cap-drop all` would take away what `--cap-add` gives.
USUAL = {"AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "NET_RAW",
         "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT"}  # fmt: skip

pytestmark = pytest.mark.skipif(not BUILDAH, reason="scripts/test-image builds the image and runs this")


def buildah(*words: object) -> str:
    """The output of a buildah command."""
    return subprocess.run([*BUILDAH, *map(str, words)], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


class Container:
    """A container of the image, in which commands run with the user and the rights that a manifest gives them."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.name = buildah("from", "--pull-never", os.environ["COPYTOOL_IMAGE"])

    def command(self, *words: object, user: str = "65200:65200", rights: tuple[str, ...] = ()) -> list[str]:
        """The command that runs another one in it."""
        allowed = [word for right in rights for word in ("--cap-add", f"CAP_{right}")]
        refused = [word for right in USUAL - set(rights) for word in ("--cap-drop", f"CAP_{right}")]
        shared = ["--volume", f"{self._directory}:{self._directory}", "--volume", f"{ROOT}:/checkout:ro"]
        options = ["--isolation", "chroot", "--user", user, *refused, *allowed, *shared]
        return [*BUILDAH, "run", *options, self.name, "--", *map(str, words)]

    def run(self, *words: object, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return subprocess.run(self.command(*words, **options), check=False, capture_output=True, text=True)


@pytest.fixture
def container(tmp_path: Path) -> Iterator[Container]:
    made = Container(tmp_path)
    try:
        yield made
    finally:
        buildah("rm", made.name)


@pytest.fixture
def network(tmp_path: Path) -> Iterator[Network]:
    """The four hosts, with echo services."""
    made = Network(tmp_path)
    try:
        made.create()
        made.start_services()
        yield made
    finally:
        made.delete()


def rights(kind: str, name: str) -> tuple[str, tuple[str, ...]]:
    """The user that a manifest's container runs as, and its capabilities."""
    found = []
    for path in MANIFESTS.glob("*.yml"):
        for document in yaml.safe_load_all(path.read_text()):
            if document["kind"] == kind:
                pod = document["spec"]["template"]["spec"]
                found += [one for one in [*pod.get("initContainers", []), *pod["containers"]] if one["name"] == name]
    (security,) = [one["securityContext"] for one in found]
    return f"{security['runAsUser']}:{security.get('runAsGroup', 0)}", tuple(security["capabilities"]["add"])


def test_it_is_compiled_and_starts_as_its_own_user(container: Container) -> None:
    assert container.run("copytool", "--version").stdout.startswith(f"copytool {__version__} (compiled,")
    assert "-x MAP" in container.run("copytool", "copy", "--help").stdout
    assert container.run("id", "-u").stdout == "65200\n"
    config = json.loads(buildah("inspect", "--type", "image", os.environ["COPYTOOL_IMAGE"]))["OCIv1"]["config"]
    assert (config["User"], config["Entrypoint"]) == ("65200:65200", ["/opt/copytool/bin/copytool"])


def test_it_has_neither_compiler_nor_pip(container: Container) -> None:
    for program in ("gcc", "cc", "pip"):
        assert container.run("sh", "-c", f"! command -v {program}").returncode == 0, program
    assert "No module named pip" in container.run("/opt/copytool/bin/python3", "-m", "pip").stderr


def test_without_capabilities_it_says_what_is_missing(container: Container) -> None:
    refused = container.run("copytool", "intercept", "-i", "lo", "-F", "tcp", "--plain")
    assert refused.returncode == 3
    assert "CAP_NET_RAW" in refused.stderr


class Daemons:
    """Runs copytool's commands in a container that uses the network of a host."""

    def __init__(self, container: Container) -> None:
        self._container = container

    def start(self, host: Host, kind: str, *words: str) -> None:
        """Start a daemon with the rights of its manifest."""
        user, allowed = rights(kind, words[0])
        program = ["copytool", *words, "--plain", "--control-socket", host.control_socket]
        host.start(*self._container.command(*program, user=user, rights=allowed))

    def status(self, host: Host) -> dict[str, Any]:
        """What a daemon says; empty while it does not answer."""
        words = ["copytool", "status", "--json", "--control-socket", host.control_socket]
        answer = self._container.run(*words, user="0:65200")
        with contextlib.suppress(ValueError):
            return dict(json.loads(answer.stdout))
        return {}


def test_a_mirror_of_containers_on_a_node_that_forwards(container: Container, network: Network) -> None:
    """Each session arrives; the manifest's rule drops the answers that the assistant, a router, would pass on."""
    config = next(
        one for one in yaml.safe_load_all((MANIFESTS / "config.yml").read_text()) if one["kind"] == "ConfigMap"
    )
    rules = network.assistant.scratch / "answers.nft"
    rules.write_text(config["data"]["answers.nft"])
    assistant = network.assistant.namespace
    network.assistant.run("sysctl", "-w", "net.ipv4.ip_forward=1")
    ip("-n", assistant, "route", "add", "default", "via", "192.168.50.200")
    user, allowed = rights("Deployment", "drop-answers")
    drop = container.command("nft", "--file", rules, user=user, rights=allowed)
    for _ in range(2):  # the pod may start again
        network.assistant.run(*drop)

    daemons = Daemons(container)
    daemons.start(network.assistant, "Deployment", "intercept", "-i", "ens18", "-F", "tcp and src port 1025")
    network.wait_listening("assistant", 36524)
    daemons.start(network.online, "DaemonSet", *COPY.split())
    wait_until(
        lambda: (status := daemons.status(network.online)) and status["link"][0]["state"] == "established",
        "the link is established",
    )
    assert network.drive("--sessions", 100)["errors"] == []
    network.wait_for_sessions("target", 100)
    assert network.multiset("target") == network.multiset("online")
    status = daemons.status(network.online)
    assert status["flavour"] == "compiled"
    assert status["sessions"]["outcomes"]["mirrored"] == status["sessions"]["seen"] == 100
    assert status["imbalance"] == []

    forwarded = network.assistant.run("nstat", "-asz", "IpForwDatagrams").stdout
    assert re.search(r"IpForwDatagrams\s+0\s", forwarded), forwarded
    listed = network.assistant.run("nft", "list", "table", "inet", "copytool_answers").stdout
    assert int(re.search(r"counter packets (\d+)", listed)[1]) > 100, listed
