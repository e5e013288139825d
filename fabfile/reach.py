"""The command that runs a script as root on a host, and what it means when that fails."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from .fleet import Host

NOT_FOUND = "(is it up, and does the name or address in the inventory hold?)"

# ssh does not end what it started when it is ended itself. So the host ends the script when its standard input ends,
# for which ssh, or fab, has to be gone. 255 is ssh's own status.
LIFELINE = """\
exec 3<&0 </dev/null
setsid sh -c "$1" fab 3<&- &
child=$!
{ while read -r _; do :; done <&3; kill -s TERM -- "-$child"; } >/dev/null 2>&1 &
watch=$!
exec 3<&-
wait "$child"
status=$?
kill "$watch" 2>/dev/null
[ "$status" -ne 255 ] || status=254
exit "$status"
"""


class UnreachableError(Exception):
    """Says why a host cannot be reached, before anything was tried."""


def command_for(host: Host, script: str, connect_timeout_s: int, as_root: bool = True) -> list[str]:
    """The arguments of the program that runs a script on a host."""
    if host.problem:
        raise UnreachableError(host.problem)
    words = ["sh", "-c", LIFELINE, "fab", script]
    if as_root and needs_sudo(host):
        if host.become_method != "sudo":
            raise UnreachableError(f"it becomes root by {host.become_method}; fab knows sudo only")
        words = [*(("sudo", "-S", "-p", "") if host.become_password else ("sudo", "-n")), *words]
    if host.connection == "local":
        return words
    if host.connection not in ("ssh", "smart"):
        raise UnreachableError(f"its ansible_connection is {host.connection}; fab knows ssh and local only")
    return [*ssh_command(host, connect_timeout_s), shlex.join(words)]


def needs_sudo(host: Host) -> bool:
    """Whether the user that logs in is somebody else than root."""
    if host.connection == "local":
        return os.geteuid() != 0
    return host.user != "root"


def ssh_command(host: Host, connect_timeout_s: int) -> list[str]:
    """ssh with everything but the command to run. Options come first that nobody else may set."""
    options = {
        "BatchMode": "yes",
        "ConnectTimeout": str(connect_timeout_s),
        "ControlMaster": "no",
        "LogLevel": "ERROR",
        "ServerAliveInterval": "15",
        "ServerAliveCountMax": "3",
        **({} if host.check_host_key else {"StrictHostKeyChecking": "no"}),
        **({"User": host.user} if host.user else {}),
        **({"Port": host.port} if host.port else {}),
        **({"IdentityFile": str(Path(host.key).expanduser())} if host.key else {}),
    }
    words = shlex.split(host.arguments)
    if (file := config_file(words)) and not file.is_file():
        raise UnreachableError(f"there is no {file}")
    return [
        host.ssh,
        "-T",
        *(word for item in options.items() for word in ("-o", "=".join(item))),
        *words,
        host.address,
    ]


def config_file(words: list[str]) -> Path | None:
    """The file that ssh's arguments name with -F."""
    for word, following in zip(words, [*words[1:], ""], strict=True):
        if word.startswith("-F") and (name := word[2:] or following) and name != "none":
            return Path(name).expanduser()
    return None


def explain(host: Host, messages: str) -> str:
    """Why a script did not start, in one line, from what ssh and sudo said."""
    lines = [line.strip() for line in messages.splitlines() if line.strip()]
    last = lines[-1] if lines else "no message"
    for part, meaning in (
        (
            "IDENTIFICATION HAS CHANGED",
            "its host key is not the one in known_hosts: find out why before you remove that",
        ),
        (
            "Host key verification failed",
            f"its host key is not known: log in once, ssh {host.address}, and check the key",
        ),
        (
            "Permission denied (",
            f"{last}. Which key: ansible_ssh_private_key_file, ssh-agent or ssh_config; no passwords",
        ),
        ("a password is required", "sudo wants a password: set ansible_become_password (in a vault), or NOPASSWD"),
        ("no password was provided", "sudo wants a password: set ansible_become_password (in a vault), or NOPASSWD"),
        ("incorrect password attempt", "sudo does not take the password in ansible_become_password"),
        ("not in the sudoers file", "the user that logs in may not become root: add it to sudoers"),
        ("sudo: not found", "there is no sudo, and the user that logs in is not root"),
        ("sudo: command not found", "there is no sudo, and the user that logs in is not root"),
    ):
        if part in messages:
            return meaning
    return f"{last} {NOT_FOUND}" if "not known" in last or "resolve hostname" in last else last
