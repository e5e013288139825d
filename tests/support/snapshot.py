#!/usr/bin/env python3
"""Prints as one JSON object the state of the host that it runs on, for two of them to be compared.

Files count with mode, owner and content. Left out is what changes by itself, or because somebody looks: each item of
LEFT_OUT says why.
"""

# Paths are strings here: of 14,000 files that takes a third of the time.
# ruff: noqa: PTH115, PTH118, PTH123, PTH208
from __future__ import annotations

import grp
import hashlib
import json
import os
import pwd
import re
import stat
import subprocess
import sys
from collections.abc import Iterator

__all__ = ["LEFT_OUT", "differences", "snapshot"]

LEFT_OUT = {
    r"/(proc|sys|dev|run|tmp|var/tmp)": "not on a disk; /run and what listens are looked at by their units",
    r"/var/log/journal": "the journal keeps what happened, also what the roles did",
    r"/var/log/(apt|dpkg\.log|alternatives\.log|wtmp|btmp|lastlog|faillog)": "logs of packages and logins",
    r"/var/cache/(apt|debconf|ldconfig|man)": "caches of what there is to install",
    r"/var/lib/apt/(lists|periodic|extended_states)": "the package sources' index",
    r"/var/lib/dpkg/(status-old|available-old|lock.*|triggers/.*)": "dpkg's copy of its last state, and locks",
    r"/var/lib/dpkg/(status|available)": "in the packages' versions",
    r"/var/lib/systemd/(timers|random-seed|timesync|catalog)": "systemd's own",
    r"/etc/(passwd|group|shadow|gshadow|subuid|subgid)-": "the tools' copy of the last state",
    r"/etc/ld\.so\.cache": "a cache; its order is not stable",
    r"/etc/rc\d\.d": "systemctl keeps these links of SysV init; the lab's disabled Prometheus was disabled without it",
    r"/etc/firewalld/zones": "firewalld keeps the file that it writes of a zone; the rules themselves count",
    r"/root/\.(ansible|cache|lesshst|bash_history)": "Ansible's own, where its modules run",
    r"/var/lib/(lastlog|private/systemd)": "logins",
    r".*/__pycache__": "what Python keeps of sources that it read; their directories' times do not count either",
}
_LEFT_OUT = re.compile("(?:" + "|".join(LEFT_OUT) + ")(?:/|$)")


def output(*command: str) -> list[str]:
    """The lines that a command prints; none if it is missing."""
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False)
    except FileNotFoundError:
        return []
    return [line.strip() for line in done.stdout.splitlines() if line.strip()]


def without_counters(lines: list[str]) -> list[str]:
    """Lines without what counts by itself: lifetimes, packets, octets."""
    return sorted(re.sub(r"(valid_lft|preferred_lft|expires|packets|bytes|age) \S+", r"\1", line) for line in lines)


def files() -> Iterator[tuple[str, str]]:
    """Each file: its type, mode, owner, and content or where it points."""
    for directory, names, others in os.walk("/"):
        names[:] = [name for name in names if not _LEFT_OUT.match(os.path.join(directory, name))]
        for name in [*names, *others]:
            path = os.path.join(directory, name)
            if not _LEFT_OUT.match(path):
                yield path, described(path)


def described(path: str) -> str:
    """What a file is."""
    try:
        status = os.lstat(path)
    except OSError:
        return "gone"
    text = f"{stat.filemode(status.st_mode)} {status.st_uid}:{status.st_gid}"
    if stat.S_ISLNK(status.st_mode):
        return f"{text} -> {os.readlink(path)}"
    if stat.S_ISREG(status.st_mode):
        with open(path, "rb") as file:
            return f"{text} {hashlib.file_digest(file, 'sha256').hexdigest()[:16]}"
    return text


def sysctls() -> dict[str, str]:
    """The network's settings, without those of connections and interfaces that count or are random."""
    pairs = (line.partition(" = ")[::2] for line in output("sysctl", "--all", "--pattern", r"^net\."))
    random = re.compile(r"stable_secret|\.neigh\.|fib_|tcp_fastopen_key|nf_conntrack_count|retrans_time|reachable_time")
    return {name: value for name, value in pairs if not random.search(name)}


def tc_filters() -> list[str]:
    """The filters of each interface's hooks, which `tc` shows one by one only."""
    hooks = ((name, hook) for name in os.listdir("/sys/class/net") for hook in ("ingress", "egress"))
    return [
        f"{name} {hook} {line}" for name, hook in hooks for line in output("tc", "filter", "show", "dev", name, hook)
    ]


def units() -> dict[str, str]:
    """Unit files with whether they are enabled; units that are active or have failed."""
    found = {}
    for line in output("systemctl", "list-unit-files", "--no-legend", "--plain"):
        name, state = line.split()[:2]
        if not name.startswith("session-"):
            found[f"unit file {name}"] = state
    for line in output("systemctl", "list-units", "--all", "--no-legend", "--plain", "--type=service,timer,socket"):
        name, _, active, sub = line.split()[:4]
        if active in ("active", "activating", "failed") and not re.match(r"(session-|user-|user@|run-|ssh@)", name):
            found[f"unit {name}"] = f"{active} {sub}"
    return found


def snapshot() -> dict[str, dict[str, str]]:
    """All of it: by kind, a description by name."""
    packages = output("dpkg-query", "--show", "--showformat=${binary:Package} ${Version} ${db:Status-Abbrev}\n")
    marked = output("apt-mark", "showmanual")
    lists = {
        "address": without_counters(output("ip", "-oneline", "address", "show")),
        "route": without_counters(
            [f"{f} {line}" for f in ("-4", "-6") for line in output("ip", f, "route", "show", "table", "all")]
        ),
        "rule": without_counters([f"{f} {line}" for f in ("-4", "-6") for line in output("ip", f, "rule", "show")]),
        "interface": output("ip", "-oneline", "link", "show"),
        "queueing": [*output("tc", "qdisc", "show"), *tc_filters()],
        "firewall": [
            f"{number:04} {line}" for number, line in enumerate(output("nft", "--stateless", "list", "ruleset"))
        ],
        "listener": sorted({" ".join(line.split()[3:4]) for line in output("ss", "-Hltn")}),
        "package": packages,
        "chosen package": marked,
        # Locks; adduser's is in a directory of its own.
        "runtime directory": [
            f"/run/{name}" for name in os.listdir("/run") if not re.search(r"lock|pid$|^adduser$", name)
        ],
    }
    found = {kind: dict.fromkeys(lines, "") for kind, lines in lists.items()}
    found["user"] = {one.pw_name: f"{one.pw_uid}:{one.pw_gid} {one.pw_dir} {one.pw_shell}" for one in pwd.getpwall()}
    found["group"] = {one.gr_name: f"{one.gr_gid} {','.join(one.gr_mem)}" for one in grp.getgrall()}
    found["sysctl"] = sysctls()
    found["unit"] = units()
    found["file"] = dict(files())
    return found


def differences(before: dict[str, dict[str, str]], after: dict[str, dict[str, str]]) -> list[str]:
    """A line for each thing that is in one of them only, or differs."""
    lines = []
    for kind in before:
        for name in sorted({*before[kind], *after[kind]}):
            old, new = before[kind].get(name), after[kind].get(name)
            if old != new:
                change = "added" if old is None else "gone" if new is None else "changed"
                lines.append(f"{change} {kind} {name}" + (f": {old} is now {new}" if change == "changed" else ""))
    return lines


if __name__ == "__main__":
    json.dump(snapshot(), sys.stdout)
