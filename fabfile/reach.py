"""The command that runs a script as root on a host, and what it means when that fails."""

from __future__ import annotations

import shlex
from pathlib import Path

from .fleet import Host

PROMPT = "[fab asks for sudo's password]"
SILENT = "does not answer"
CLOSED = "cannot be reached"
REFUSES = "refuses"

NO_KEY = "{last} Keys are named by ansible_ssh_private_key_file, ssh-agent or ssh_config; fab uses no passwords of ssh"
NO_SUDO = "there is no sudo, and who logs in is not root"
PASSWORD = "sudo wants a password: set ansible_become_password (in a vault), or NOPASSWD in sudoers"
REASONS = (
    (
        "IDENTIFICATION HAS CHANGED",
        CLOSED,
        "its host key is not the one in known_hosts; find out why, then remove that",
    ),
    ("Host key verification failed", CLOSED, "its host key is not known; log in once (ssh {address}) and check it"),
    ("Could not resolve hostname", CLOSED, "{last}; does ansible_host hold?"),
    ("Permission denied (", REFUSES, NO_KEY),
    ("a password is required", REFUSES, PASSWORD),
    ("incorrect password attempt", REFUSES, "sudo does not take the password in ansible_become_password"),
    ("not in the sudoers file", REFUSES, "who logs in may not become root: add the user to sudoers"),
    ("sudo: not found", REFUSES, NO_SUDO),
    ("sudo: command not found", REFUSES, NO_SUDO),
)
"""What ssh or sudo say, what that is called, and the reason."""

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


# Only the host knows who logs in where ssh_config says that.
AS_ROOT = '[ "$(id -u)" -ne 0 ] || exec "$@"; exec sudo {options} "$@"'


class UnreachableError(Exception):
    """Says why a host cannot be reached, before anything was tried."""


def command_for(host: Host, script: str, connect_timeout_s: int, as_root: bool = True) -> list[str]:
    """The arguments of the program that runs a script on a host."""
    if host.problem:
        raise UnreachableError(host.problem)
    words = ["sh", "-c", LIFELINE, "fab", script]
    if as_root and host.user != "root":
        if host.become_method != "sudo":
            raise UnreachableError(f"it becomes root by {host.become_method}; fab knows sudo only")
        options = f"-S -p {shlex.quote(PROMPT)}" if host.become_password else "-n"
        words = ["sh", "-c", AS_ROOT.format(options=options), "fab", *words]
    if host.connection == "local":
        return words
    if host.connection not in ("ssh", "smart"):
        raise UnreachableError(f"its ansible_connection is {host.connection}; fab knows ssh and local only")
    return [*ssh_command(host, connect_timeout_s), shlex.join(words)]


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
        **({"IdentityFile": f'"{Path(host.key).expanduser()}"'} if host.key else {}),
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
    at = next((index for index, word in enumerate(words) if word.startswith("-F")), None)
    if at is None:
        return None
    name = words[at][2:] or "".join(words[at + 1 : at + 2])
    return Path(name).expanduser() if name not in ("", "none") else None


def explain(host: Host, messages: str) -> tuple[str, str]:
    """Why a script did not start, in one line each: what the host does, and the reason, from what ssh and sudo said."""
    lines = [line.strip() for line in messages.splitlines() if line.strip()]
    last = lines[-1] if lines else "no message"
    for part, what, reason in REASONS:
        if part in messages:
            return what, reason.format(last=last, address=host.address)
    return SILENT, last
