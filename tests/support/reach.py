"""Hosts that may be down."""

from __future__ import annotations

from testinfra.host import Host

__all__ = ["output_if_up", "unreachable"]


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
