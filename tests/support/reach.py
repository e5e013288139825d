"""The hosts over ssh, which may be down."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

import testinfra
from testinfra.host import Host

from .topology import Topology

__all__ = ["connected", "output_if_up", "unreachable"]


@contextmanager
def connected(topology: Topology) -> Iterator[dict[str, Host]]:
    """All hosts by name. Each has one connection, which ends afterwards, so that hosts can be removed."""
    config = str(topology.ssh_config)
    with tempfile.TemporaryDirectory(prefix="ct-ssh-") as directory:
        try:
            yield {
                name: testinfra.get_host(
                    f"ssh://{name}", ssh_config=config, controlpath=f"{directory}/{name}", sudo=topology.sudo
                )
                for name in topology.addresses
            }
        finally:
            for name in topology.addresses:
                command = ["ssh", "-F", config, "-o", f"ControlPath={directory}/{name}", "-O", "exit", name]
                subprocess.run(command, stderr=subprocess.DEVNULL, check=False)


def output_if_up(host: Host, command: str) -> str:
    """A command's output; empty when it failed or the host did not answer."""
    try:
        answer = host.run(command)
    except RuntimeError:  # testinfra's word for ssh's own failures
        return ""
    return str(answer.stdout).strip() if answer.rc == 0 else ""


def unreachable(host: Host) -> str:
    """Why a host does not answer; empty when it does."""
    try:
        host.run("true")
    except RuntimeError as error:
        result = error.args[0]
        return str(result.stderr).strip().splitlines()[-1] if result.stderr else "no message"
    return ""
