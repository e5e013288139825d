#!/usr/bin/env python3
"""Print as one JSON object what there is on this host that a mirror would have to get along with. Changes nothing.

It runs before anything is installed, so it needs the standard library only, and no newer Python than 3.6: what is
missing or cannot be read is null, and the control machine judges.
"""

import argparse
import glob
import json
import os
import platform
import re
import shutil
import socket
import struct
import subprocess
import sys
import time

TIMEOUT_S = 20
LISTEN = "0A"
CONFIGS = ("copy", "forward", "intercept")
SYSCTLS = ("net/ipv4/ip_forward", "net/ipv4/conf/all/rp_filter")


def output_of(*command):
    """What a command prints; None if it is missing or fails."""
    name = shutil.which(command[0], path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if name is None:
        return None
    environment = dict(os.environ, LC_ALL="C")
    try:
        done = subprocess.run(
            (name,) + command[1:],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=TIMEOUT_S,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else None


def json_of(*command):
    """The JSON that a command prints; None if there is none."""
    try:
        return json.loads(output_of(*command) or "")
    except ValueError:
        return None


def read(path):
    """The text of a file; None if it cannot be read."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return None


def python():
    """This Python, and whether it can make virtual environments."""
    can = {}
    for name in ("venv", "ensurepip"):
        try:
            __import__(name)
            can[name] = True
        except ImportError:
            can[name] = False
    return dict(can, version="%d.%d" % sys.version_info[:2])


def libpcap():
    """Whether there is one."""
    import ctypes.util

    return ctypes.util.find_library("pcap") is not None


def decoded(text):
    """An address and port as /proc/net/tcp has them."""
    address, _, port = text.partition(":")
    words = [address[i : i + 8] for i in range(0, len(address), 8)]
    packed = b"".join(struct.pack("=I", int(word, 16)) for word in words)
    family = socket.AF_INET if len(packed) == 4 else socket.AF_INET6
    return socket.inet_ntop(family, packed), int(port, 16)


def listeners():
    """Who listens on TCP: address, port, and the unit or else the program."""
    found = []
    for name in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in (read(name) or "").splitlines()[1:]:
            fields = line.split()
            if fields[3] == LISTEN:
                address, port = decoded(fields[1])
                found.append({"address": address, "port": port, "inode": fields[9]})
    owners = owners_of({one["inode"] for one in found})
    return [dict(address=one["address"], port=one["port"], owner=owners.get(one["inode"], "")) for one in found]


def owners_of(inodes):
    """By inode of a socket: the unit of the process that has it, or else its program."""
    owners = {}
    for directory in glob.glob("/proc/[0-9]*"):
        try:
            links = [os.readlink(os.path.join(directory, "fd", fd)) for fd in os.listdir(directory + "/fd")]
        except OSError:
            continue
        for link in links:
            match = re.match(r"socket:\[(\d+)\]", link)
            if match and match.group(1) in inodes:
                owners.setdefault(match.group(1), unit_of(directory) or read(directory + "/comm") or "")
    return owners


def unit_of(directory):
    """The systemd service that a process belongs to."""
    units = re.findall(r"([^/\n]+\.service)", read(directory + "/cgroup") or "")
    return units[-1] if units else ""


def forwarded():
    """How many IPv4 packets this host has forwarded since it was started."""
    lines = [line.split() for line in (read("/proc/net/snmp") or "").splitlines() if line.startswith("Ip:")]
    try:
        return int(dict(zip(*lines))["ForwDatagrams"])
    except (KeyError, TypeError, ValueError):
        return None


def space(paths):
    """Free MiB, by path: of the file system that has it or will have it."""
    free = {}
    for path in paths:
        there = path
        while not os.path.exists(there):
            there = os.path.dirname(there)
        room = os.statvfs(there)
        free[path] = room.f_bavail * room.f_frsize // (1 << 20)
    return free


def firewall():
    """The rules there are, and who keeps them."""
    ufw, firewalld = output_of("ufw", "status"), output_of("firewall-cmd", "--state")
    legacy = [(read("/proc/net/" + name) or "").split() for name in ("ip_tables_names", "ip6_tables_names")]
    active = {"ufw": "Status: active" in (ufw or ""), "firewalld": (firewalld or "").strip() == "running"}
    return {
        "keepers": [name for name in ("ufw", "firewalld") if active[name]],
        "nft": json_of("nft", "-j", "list", "ruleset"),
        "has_nft": output_of("nft", "--version") is not None,
        "legacy": sorted(set(legacy[0] + legacy[1])),
    }


def protections():
    """What of the kernel's access control is on."""
    enforce = read("/sys/fs/selinux/enforce")
    return {
        "selinux": {"1": "enforcing", "0": "permissive"}.get(enforce or "", "off"),
        "apparmor": read("/sys/module/apparmor/parameters/enabled") == "Y",
    }


def package_manager():
    """The first there is, and whether it has what to install from."""
    for name in ("apt-get", "dnf", "zypper"):
        if output_of(name, "--version") is not None:
            return name
    return ""


def look(options):
    """All of it."""
    return {
        "python": python(),
        "machine": platform.machine(),
        "libpcap": libpcap(),
        "package_manager": package_manager(),
        "systemd": os.path.isdir("/run/systemd/system"),
        "clock_ahead_s": round(time.time() - options.now, 1) if options.now else None,
        "free_mib": space(options.space),
        "addresses": json_of("ip", "-json", "-details", "address", "show"),
        "routes": {name: json_of("ip", name, "-json", "route", "show", "table", "all") for name in ("-4", "-6")},
        "rules": json_of("ip", "-4", "-json", "rule", "show"),
        "sysctl": {name: read("/proc/sys/" + name) for name in SYSCTLS},
        "forwarded": forwarded(),
        "listeners": listeners(),
        "firewall": firewall(),
        "protections": protections(),
        "installed": [name for name in CONFIGS if os.path.exists(os.path.join(options.config_dir, name + ".toml"))],
        "route_unit": os.path.exists("/etc/systemd/system/mirror-route.service"),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config-dir", default="/etc/copytool")
    parser.add_argument("--now", type=float, help="the time on the control machine")
    parser.add_argument("--space", action="append", default=[], help="say how much room is there")
    print(json.dumps(look(parser.parse_args())))


if __name__ == "__main__":
    main()
