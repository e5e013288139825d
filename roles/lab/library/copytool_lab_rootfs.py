#!/usr/bin/python
"""Ansible module: the root file system that the lab's hosts share."""

from __future__ import annotations

DOCUMENTATION = r"""
module: copytool_lab_rootfs
short_description: Build or remove the root file system of the copytool lab's hosts
description:
  - Builds a Debian root file system with mmdebstrap, once for each release and set of packages.
  - It is built under another name and renamed when complete, under a lock that ends with the build's last process,
    so that a build that was killed is done again and two labs do not build at once.
options:
  state:
    description: Whether the root file system is to be there; V(absent) removes the whole cache, unless a host uses it.
    type: str
    choices: [present, absent]
    default: present
  release:
    description: The Debian release.
    type: str
    default: bookworm
  packages:
    description: The packages to install.
    type: list
    elements: str
    default: []
  mirror:
    description: Where to get packages from, when it is not mmdebstrap's default.
    type: str
    default: ''
  apt_options:
    description: Lines of configuration for apt, while it is built and afterwards in the hosts.
    type: list
    elements: str
    default: []
  cache_dir:
    description: Directory that holds the root file systems.
    type: path
    required: true
  timeout_s:
    description: How long to wait for a build that another run has begun.
    type: int
    default: 600
attributes:
  check_mode:
    support: full
    description: Says whether it would build.
  diff_mode:
    support: full
    description: Names what would be built or removed.
author:
  - copytool
"""

EXAMPLES = r"""
- name: Build the root file system
  copytool_lab_rootfs:
    release: bookworm
    packages: [systemd-sysv, openssh-server]
    cache_dir: /var/cache/copytool-lab
"""

RETURN = r"""
path:
  description: Where the root file system is.
  type: str
  returned: when state is present
"""

import os
import shutil
import subprocess
import uuid
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.lab_lock import LockError, lock
from ansible.module_utils.lab_mounts import MountError, overlays_on, unmount_below
from ansible.module_utils.lab_processes import TAG, ProcessesSurviveError, has_tag, kill
from ansible.module_utils.lab_rootfs_plan import BUILD_ID, build_command, name, recipe

REMEDIES = {
    "NO_PUBKEY": "This machine does not know the release's keys: upgrade its package debian-archive-keyring.",
    "invalid since": "The mirror is old, or this machine's clock wrong. For a mirror that is no longer updated set "
    "lab_apt_options to ['Acquire::Check-Valid-Until \"false\"'].",
}


class BuildError(Exception):
    """The root file system cannot be built; the message says why."""


def build(params: dict[str, Any], target: Path) -> bool:
    """Build what is missing; tell whether anything was."""
    cache = target.parent
    with lock(cache, params["timeout_s"]) as handle:
        if target.exists():
            return False
        partial = target.with_suffix(".partial")
        discard(partial)
        made_from = recipe(params["release"], params["packages"])
        command = build_command(made_from, partial, params["mirror"], params["apt_options"])
        environment = {**os.environ, TAG: str(cache), "LC_ALL": "C.UTF-8"}
        result = subprocess.run(
            command,
            env=environment,
            pass_fds=[handle],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if result.returncode != 0:
            discard(partial)
            said = f"{last_lines(result.stdout)}{advice(result.stdout)}"
            raise BuildError(f"mmdebstrap failed; the end of what it said:\n{said}")
        partial.chmod(0o755)
        (partial / BUILD_ID).write_text(f"{uuid.uuid4()}\n")
        os.sync()
        partial.rename(target)
    return True


def remove(cache: Path) -> None:
    """End builds that still run and remove the cache."""
    kill(has_tag(str(cache)), "root file system build")
    with lock(cache):
        unmount_below(cache)
        shutil.rmtree(cache)


def discard(partial: Path) -> None:
    """Remove what a killed build left."""
    if partial.exists():
        unmount_below(partial)
        shutil.rmtree(partial)


def last_lines(text: str, count: int = 8) -> str:
    """The end of a long output."""
    return "\n".join(text.splitlines()[-count:])


def advice(text: str) -> str:
    """What to do about the failures that a release other than the machine's own is prone to."""
    return next((f"\n{remedy}" for sign, remedy in REMEDIES.items() if sign in text), "")


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "release": {"type": "str", "default": "bookworm"},
            "packages": {"type": "list", "elements": "str", "default": []},
            "mirror": {"type": "str", "default": ""},
            "apt_options": {"type": "list", "elements": "str", "default": []},
            "cache_dir": {"type": "path", "required": True},
            "timeout_s": {"type": "int", "default": 600},
        },
        supports_check_mode=True,
    )
    params = module.params
    cache = Path(params["cache_dir"])
    try:
        if params["state"] == "absent":
            if users := overlays_on(cache):
                module.warn(f"{cache} stays, other hosts lie on it: {' '.join(users)}")
            changed = cache.exists() and not users
            if changed and not module.check_mode:
                remove(cache)
            module.exit_json(changed=changed, diff={"prepared": f"remove {cache}\n" if changed else ""})
        target = cache / name(recipe(params["release"], params["packages"]))
        changed = not target.exists()
        if changed and not module.check_mode:
            changed = build(params, target)
    except (BuildError, LockError, MountError, ProcessesSurviveError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=changed, path=str(target), diff={"prepared": f"build {target}\n" if changed else ""})


if __name__ == "__main__":
    main()
