"""Decide what the hosts' root file system consists of and what it is called. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

Recipe = dict[str, Any]

BUILD_ID = "etc/lab-build-id"
"""File, in a root file system, that tells this build of it from others of the same recipe."""

SSHD_CONFIG = """\
PermitRootLogin prohibit-password
PasswordAuthentication no
UseDNS no
MaxStartups 200
MaxSessions 200
"""

MASKED_UNITS = (
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "console-getty.service",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "systemd-networkd.service",
    "systemd-networkd.socket",
)
"""Units that would use a network that is not there, or undo the one that is set from outside."""

DISABLED_UNITS = ("prometheus.service",)
"""Units that their packages enable, and that run only where a role asks for them."""

LEFT_OUT = ("/usr/share/javascript/moment-timezone/data/*",)
"""Files of packages that are large and of no use: time zones in all their versions, for pages that Prometheus shows."""


def recipe(release: str, packages: list[str]) -> Recipe:
    """All that the root file system is made from; the same recipe gives the same name."""
    masks = " ".join(f'"$1/etc/systemd/system/{unit}"' for unit in MASKED_UNITS)
    wants = " ".join(f'"$1"/etc/systemd/system/*.wants/{unit}' for unit in DISABLED_UNITS)
    return {
        "release": release,
        "packages": sorted(set(packages)),
        "left_out": list(LEFT_OUT),
        "hooks": [
            f"printf '%s' '{SSHD_CONFIG}' > \"$1/etc/ssh/sshd_config.d/lab.conf\"",
            f'for unit in {masks}; do ln -sf /dev/null "$unit"; done',
            f"rm -f {wants}",
            'rm -f "$1"/etc/ssh/ssh_host_* "$1/etc/machine-id" "$1/etc/resolv.conf" "$1/etc/hostname"',
            'echo LANG=C.UTF-8 > "$1/etc/default/locale"',
        ],
    }


def name(made_from: Recipe) -> str:
    """Directory name of the root file system made from a recipe."""
    digest = hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()
    return f"rootfs-{made_from['release']}-{digest[:12]}"


def build_command(made_from: Recipe, target: Path, mirror: str, apt_options: Sequence[str] = ()) -> list[str]:
    """The command that builds a recipe into ``target``, from ``mirror`` or else from mmdebstrap's default."""
    command = ["mmdebstrap", "--mode=root", "--variant=minbase"]
    command += [f"--include={','.join(made_from['packages'])}"]
    command += [f"--dpkgopt=path-exclude={path}" for path in made_from["left_out"]]
    command += [f"--customize-hook={hook}" for hook in made_from["hooks"]]
    command += [f"--aptopt={option}" for option in apt_options]
    return [*command, made_from["release"], str(target), *([mirror] if mirror else [])]
