"""Judges of one host by itself: does it answer, and does it have what is needed?"""

from __future__ import annotations

from collections.abc import Iterator

from .finding import Finding, failed, ok, warning
from .inventory import Host

__all__ = ["judge_host"]

OLDEST_PYTHON = (3, 11)
NEEDS_PYTHON = frozenset({"copy", "assistant", "forward"})
CLOCK_DIFFERS_S = 60
CERTIFICATE_BACKDATED_S = 3600
"""roles/copytool's authority makes certificates valid from so long ago."""


def judge_host(host: Host, space_mib: int) -> Iterator[Finding]:
    """All that can be told without the other hosts."""
    yield from variables(host)
    if host.seen is None:
        yield from answer(host)
        return
    yield from python(host)
    yield from systemd(host)
    yield from libpcap(host)
    yield from space(host, space_mib)
    yield from clock(host)
    yield from access_control(host)


def variables(host: Host) -> Iterator[Finding]:
    """What the inventory says can be read."""
    for objection in host.objections:
        fix = "correct the variable in the inventory; inventory/example explains each"
        yield failed(host.name, "inventory", objection, "a variable of this host cannot be used", fix)


def answer(host: Host) -> Iterator[Finding]:
    """Whether Ansible can run something there; a host that --limit leaves out is not asked."""
    if not host.why_not:
        return
    cause = "Ansible does not reach it, may not become root there, or finds no python3"
    fix = f"try `ansible {host.name} -i INVENTORY -b -m ansible.builtin.raw -a id`; see ansible_host, ansible_user"
    yield failed(host.name, "host", f"does not answer: {host.why_not}", cause, fix)


def python(host: Host) -> Iterator[Finding]:
    """Python is new enough, and can make a virtual environment."""
    seen = (host.seen or {})["python"]
    version = tuple(int(part) for part in seen["version"].split("."))
    if not host.roles & NEEDS_PYTHON:
        yield ok(host.name, "python", seen["version"])
        return
    if version < OLDEST_PYTHON:
        cause = "copytool needs Python 3.11 or newer"
        fix = "install a newer python3 (Debian 12, Ubuntu 24.04 and Fedora have it)"
        yield failed(host.name, "python", seen["version"], cause, fix)
    missing = [name for name in ("venv", "ensurepip") if not seen[name]]
    if missing:
        shown = f"{seen['version']} without {' and '.join(missing)}"
        cause = "without them no virtual environment can be made"
        yield failed(host.name, "python", shown, cause, "on Debian and Ubuntu: apt install python3-venv")
    elif version >= OLDEST_PYTHON:
        yield ok(host.name, "python", f"{seen['version']} with venv")


def systemd(host: Host) -> Iterator[Finding]:
    """systemd runs the services."""
    if (host.seen or {})["systemd"]:
        yield ok(host.name, "systemd", "runs")
        return
    cause = "the roles install systemd units: daemons, and the route"
    fix = "take a host with systemd, or set copytool up by hand there (README.md, By hand)"
    yield failed(host.name, "systemd", "does not run", cause, fix)


def libpcap(host: Host) -> Iterator[Finding]:
    """It is there, or can be installed."""
    if not host.roles & {"copy", "assistant", "forward"}:
        return
    seen = host.seen or {}
    if seen["libpcap"]:
        yield ok(host.name, "libpcap", "is there")
    elif seen["package_manager"]:
        cause = "copytool needs it; the role installs its package from the host's own sources"
        yield warning(host.name, "libpcap", "is missing", cause, "nothing to do if these can be reached")
    else:
        cause = "copytool needs it, and there is neither apt, dnf nor zypper to install it with"
        yield failed(host.name, "libpcap", "is missing", cause, "install libpcap (libpcap.so) yourself")


def space(host: Host, space_mib: int) -> Iterator[Finding]:
    """There is room for the program and for the configuration."""
    if not host.roles & NEEDS_PYTHON:
        return
    free = (host.seen or {})["free_mib"]
    short = {path: room for path, room in free.items() if room < space_mib}
    if not short:
        if free:
            yield ok(host.name, "disk space", f"{min(free.values()):,} MiB")
        return
    path, room = next(iter(short.items()))
    cause = f"two versions of copytool are there side by side while one replaces the other: {space_mib} MiB"
    fix = f"make room on the file system of {path}, or set copytool_install_dir to another one"
    yield failed(host.name, "disk space", f"{room} MiB free for {path}", cause, fix)


def clock(host: Host) -> Iterator[Finding]:
    """Its clock agrees with the control machine's, which issues certificates."""
    ahead = (host.seen or {}).get("clock_ahead_s")
    if ahead is None:
        return
    shown = f"{abs(ahead):.0f} s {'ahead' if ahead > 0 else 'behind'}"
    fix = "set the clocks by NTP (chrony, systemd-timesyncd)"
    if ahead < -CERTIFICATE_BACKDATED_S:
        cause = "the certificate of the link would not be valid yet on this host"
        yield failed(host.name, "clock", shown, cause, fix)
    elif abs(ahead) > CLOCK_DIFFERS_S:
        yield warning(host.name, "clock", shown, "it differs from the control machine's: logs will not match", fix)
    else:
        yield ok(host.name, "clock", "agrees")


def access_control(host: Host) -> Iterator[Finding]:
    """SELinux' and AppArmor's policies have no rules for copytool."""
    if (host.seen or {})["protections"]["selinux"] == "enforcing" and host.roles & {"copy", "assistant", "forward"}:
        cause = "its policy does not know copytool, which was not tested with it"
        fix = "docs/hosts.md, SELinux: what to look for (ausearch -m avc -c copytool)"
        yield warning(host.name, "selinux", "is enforcing", cause, fix)
