#!/usr/bin/python
"""Ansible module: whether the lab can be made on this machine."""

from __future__ import annotations

DOCUMENTATION = r"""
module: copytool_lab_preflight
short_description: Check that the copytool lab can be made on this machine
description:
  - Tries each thing that the lab needs of the kernel, in namespaces of its own, and fails with one line that names
    the first that is missing and the remedy. Changes nothing.
options:
  state_dir:
    description: Directory that is to hold the hosts.
    type: path
    required: true
  cache_dir:
    description: Directory that is to hold the root file system.
    type: path
    required: true
  user_dir:
    description: Directory with the lab's ssh_config and keys. A lab that belongs to another one is refused.
    type: path
    required: true
  hosts:
    description: Names of the hosts. Those that run already need nothing more.
    type: list
    elements: str
    default: []
  free_space_mb:
    description: Free space that is needed in each of the first two while nothing is made there.
    type: int
    default: 2048
attributes:
  check_mode:
    support: full
    description: Changes nothing in either mode.
  diff_mode:
    support: none
    description: Changes nothing.
author:
  - copytool
"""

EXAMPLES = r"""
- name: Check that the lab can be made
  copytool_lab_preflight:
    state_dir: /var/lib/copytool-lab
    cache_dir: /var/cache/copytool-lab
    user_dir: /home/me/copytool/.lab
    hosts: [online, target]
"""

RETURN = r""" # """

import ctypes
import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.lab_owner import OwnerError, require_own
from ansible.module_utils.lab_processes import find, has_tag

_MIB = 1 << 20
_INOTIFY_PER_HOST = 6
"""Of root's: systemd has five, logind one. Without them systemd in a host never ends its boot, and says nothing."""
_OVERLAY_TRIAL = """\
cd "$1" && mkdir lower upper work root || exit
mount -t overlay trial -o lowerdir=lower,upperdir=upper,workdir=work root
"""


class UnfitError(Exception):
    """The lab cannot be made here; the message says why and what to do."""


def existing(path: Path) -> Path:
    """The nearest directory, at or above ``path``, that exists."""
    while not path.is_dir():
        path = path.parent
    return path


def require_linux() -> None:
    """Refuse other systems."""
    if platform.system() != "Linux":
        raise UnfitError(f"The lab needs Linux, this is {platform.system()}: run it in a Linux virtual machine.")


def require_namespaces() -> None:
    """Refuse machines, containers above all, where namespaces cannot be made."""
    error = trial("unshare", "--net", "--mount", "--pid", "--uts", "--ipc", "--fork", "true")
    if error:
        raise UnfitError(
            f"Namespaces cannot be made ({error}): run this on a machine, or in a container with all privileges."
        )


def require_overlay(state_dir: Path) -> None:
    """Refuse a state directory that cannot hold the upper layer of an overlay."""
    with tempfile.TemporaryDirectory(prefix=".copytool-lab-trial-", dir=existing(state_dir)) as directory:
        error = trial("unshare", "--mount", "sh", "-c", _OVERLAY_TRIAL, "sh", directory)
    if error:
        raise UnfitError(
            f"{state_dir} cannot hold overlay file systems ({error}): load the kernel's overlay module, or set "
            f"lab_state_dir to a directory on ext4, xfs, btrfs or tmpfs."
        )


def require_space(directory: Path, needed_mb: int) -> None:
    """Refuse a file system without room for what is to be made in a directory."""
    free_mb = shutil.disk_usage(existing(directory)).free // _MIB
    if free_mb < needed_mb:
        raise UnfitError(
            f"{existing(directory)} has {free_mb} MB free and the lab needs {needed_mb} MB: make room, or set "
            f"lab_cache_dir and lab_state_dir to a directory with more."
        )


def require_inotify(hosts: int) -> None:
    """Refuse machines where hosts that are to boot would not find enough inotify instances."""
    needed = hosts * _INOTIFY_PER_HOST
    free = free_inotify_instances(needed)
    if free < needed:
        raise UnfitError(
            f"The {hosts} hosts that are to boot need {needed} inotify instances and root can have only {free} more: "
            f"end what holds so many, such as other labs or containers, or have the kernel give root more, with "
            f"'sysctl fs.inotify.max_user_instances=512'."
        )


def free_inotify_instances(wanted: int) -> int:
    """How many of the wanted inotify instances this user can still have."""
    libc = ctypes.CDLL(None)
    held: list[int] = []
    try:
        while len(held) < wanted and (number := libc.inotify_init1(os.O_CLOEXEC)) >= 0:
            held.append(number)
    finally:
        for number in held:
            os.close(number)
    return len(held)


def has_rootfs(cache_dir: Path) -> bool:
    """Tell whether a root file system is complete."""
    return any(path.suffix != ".partial" for path in cache_dir.glob("rootfs-*"))


def trial(*command: str) -> str:
    """Run a command; its complaint, empty when it succeeds."""
    try:
        result = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return f"{command[0]} is not installed"
    if result.returncode == 0:
        return ""
    return " ".join(result.stderr.split()) or f"{command[0]} failed"


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "state_dir": {"type": "path", "required": True},
            "cache_dir": {"type": "path", "required": True},
            "user_dir": {"type": "path", "required": True},
            "hosts": {"type": "list", "elements": "str", "default": []},
            "free_space_mb": {"type": "int", "default": 2048},
        },
        supports_check_mode=True,
    )
    state_dir, cache_dir = Path(module.params["state_dir"]), Path(module.params["cache_dir"])
    try:
        require_linux()
        require_namespaces()
        require_own(state_dir, Path(module.params["user_dir"]))
        require_overlay(state_dir)
        require_inotify(sum(not find(has_tag(str(state_dir / "hosts" / name))) for name in module.params["hosts"]))
        if not has_rootfs(cache_dir):
            require_space(cache_dir, module.params["free_space_mb"])
        if not (state_dir / "hosts").exists():
            require_space(state_dir, module.params["free_space_mb"])
    except (OwnerError, UnfitError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False)


if __name__ == "__main__":
    main()
