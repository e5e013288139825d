"""The running daemon, asked through its control socket: what it is, what it lost, its links."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ... import __version__
from ...errors import HostError
from ..control import ask_daemon
from .result import Result, failed, ok, skipped, warning

__all__ = ["Daemon", "check_daemon", "check_drops", "check_peers", "find_daemon", "judge_link"]

_MANY_DROPS = 0.001
_KEEPS_UP = {
    "copy": "give it more processes (--workers), a larger --ring-size, or mirror less (-r)",
    "intercept": "give it a faster CPU or less to see (-F), or use several assistants",
    "forward": "give it a larger --ring-size, or send less (-r, --clients)",
}


@dataclass(frozen=True, slots=True)
class Daemon:
    """A daemon of this host. `status` is its status document, empty if it does not run, or does not answer."""

    role: str
    path: Path
    status: dict[str, Any]
    problem: str = ""
    """Why it does not answer although it is there."""

    @property
    def runs(self) -> bool:
        """Whether it runs and answers."""
        return bool(self.status)

    def refreshed(self) -> dict[str, Any]:
        """Return its status as it is now."""
        return ask_daemon(self.path, "status")


def find_daemon(role: str, path: Path) -> Daemon:
    """Ask the daemon that may listen on `path`."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(1)
        try:
            sock.connect(str(path))
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ECONNREFUSED):
                return Daemon(role, path, {})
            return Daemon(role, path, {}, f"{path}: {error.strerror or error}")
    try:
        return Daemon(role, path, ask_daemon(path, "status"))
    except HostError as error:
        return Daemon(role, path, {}, str(error))


def check_daemon(daemon: Daemon) -> Result:
    """Whether it runs; copy need not, as the check can send a probe by itself."""
    role, status = daemon.role, daemon.status
    if daemon.problem:
        fix = "run this as root" if os.geteuid() else f"see its log; restart it (systemctl restart copytool@{role})"
        return failed("daemon", f"{role} runs and does not answer", daemon.problem, fix)
    if not status:
        cause, fix = (
            f"nothing answers on {daemon.path}",
            f"start it: systemctl start copytool@{role}, or copytool {role}",
        )
        if role == "copy":
            return warning("daemon", "copy does not run; this check sends the probe by itself", cause, fix)
        return failed("daemon", f"{role} does not run", cause, fix)
    if status.get("role") != role:
        cause = f"the daemon on {daemon.path} is {status.get('role')}"
        return failed("daemon", f"no {role} there", cause, "name the right --control-socket")
    seen = f"{role} {status['version']}, {status['flavour']}"
    if status["version"] != __version__:
        cause = f"this command is version {__version__}, the daemon was started before an update"
        return warning("daemon", seen, cause, f"restart it: systemctl restart copytool@{role}")
    if status["internal_errors"]:
        cause = f"{status['internal_errors']} internal errors"
        return warning("daemon", seen, cause, "see its log, and report them")
    if status.get("steering", {}).get("paused"):
        return failed("daemon", seen, "copy is paused: new connections are not mirrored", "copytool resume")
    if status.get("dry_run"):
        return failed("daemon", seen, "it runs with --dry-run, and sends nothing", "start it without --dry-run")
    silent = [worker for worker in status.get("workers", []) if worker["state"] != "running"]
    if silent:
        cause = f"worker {silent[0]['worker']}: {silent[0]['state']}"
        return warning("daemon", seen, cause, "see the log: journalctl -u copytool@copy")
    return ok("daemon", seen, version=status["version"])


def check_drops(daemon: Daemon) -> Result:
    """Whether the kernel had to drop captured packets."""
    if not daemon.runs:
        return skipped("drops", f"{daemon.role} does not run")
    capture = daemon.status["capture"]
    packets, drops = capture["packets"], capture["drops"]
    seen = f"{drops:,} of {packets:,} captured packets dropped by the kernel"
    if not drops:
        return ok("drops", seen)
    cause = f"{daemon.role} is, or was, too slow"
    judge = failed if drops > _MANY_DROPS * (packets + drops) else warning
    return judge("drops", seen, cause, _KEEPS_UP[daemon.role])


def check_peers(daemon: Daemon) -> Iterator[Result]:
    """The copies that are connected to intercept."""
    if not daemon.runs:
        yield skipped("link", "intercept does not run")
        return
    links = daemon.status["link"]
    if not links:
        refused = daemon.status["refused_links"]
        more = f", {refused} were refused" if refused else ""
        cause = "copy does not run, does not name this host in -s, or a firewall drops its connection"
        fix = "start copy; run `copytool check copy` on the online host"
        yield warning("link", f"no copy is connected{more}", cause, fix)
    for link in links:
        yield judge_link(link, ", ".join(link.get("client_networks", [])))


def judge_link(link: dict[str, Any], detail: str = "", peer_role: str = "intercept") -> Result:
    """Return the result for a link of a status document. peer_role: the daemon that was to be connected to."""
    peer, state = link["peer"], link["state"]
    sealed = ", encrypted" if link["encrypted"] else ", not encrypted"
    version = link.get("version", "")
    if state == "established":
        seen = f"established, version {version}{sealed}" + (f", for {detail}" if detail else "")
        if version and version != __version__:
            cause = f"the other end runs version {version}, here it is {__version__}"
            return warning("link", seen, cause, "install the same version on both hosts", peer)
        return ok("link", seen, peer)
    reason = link.get("reason") or "no answer"
    cause, fix = explain_link(reason, peer, peer_role)
    return failed("link", f"{state}: {reason}", cause, fix, peer)


def explain_link(reason: str, peer: str, role: str = "intercept") -> tuple[str, str]:
    """Return (cause, fix) for a reason why a link is not established."""
    port = peer.rpartition(":")[2]
    if "belongs to the copy" in reason:
        return reason.partition("refused: ")[2] or reason, "stop that copy, or give each one its own -c"
    if "does not allow it client network" in reason:
        return reason.partition("refused: ")[2] or reason, "on the assistant: add it to intercept's --peers; compare -c"
    if "TLS" in reason or "--tls-cert" in reason:
        cause = "the two ends do not trust each other's certificates, or only one of them has any"
        return f"{cause}: {reason}", "give both ends certificates of one authority (docs/security.md), or both --plain"
    if "link protocol" in reason:
        return "the two ends are of different versions", "install the same version on both hosts"
    if any(text in reason for text in ("refused: ", "protocol error", f"closed by {role}")):
        return f"{role} does not accept this host: {reason}", f"see {role}'s log on the other host"
    if "Connection refused" in reason:
        cause = f"{role} does not run on that host, or listens elsewhere than on port {port}"
        listens = "-b and -p" if role == "intercept" else "--feed-listen"
        return cause, f"start it there: systemctl start copytool@{role}; compare -s with its {listens}"
    if "no answer to connect" in reason or "timed out" in reason:
        cause = f"the host is down, or a firewall drops TCP port {port} on the way or on that host"
        return cause, f"on that host: `nft list ruleset`; allow TCP port {port} from this one"
    if "route to host" in reason or "unreachable" in reason:
        return "there is no way to that host: it is down, or its address is wrong", f"check -s; ping {peer}"
    return f"no link: {reason}", "see both daemons' logs"
