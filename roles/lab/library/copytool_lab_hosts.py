#!/usr/bin/python
"""Ansible module: the lab's hosts."""

from __future__ import annotations

DOCUMENTATION = r"""
module: copytool_lab_hosts
short_description: Make, boot or remove the hosts of the copytool lab
description:
  - Makes each host of an overlay over a root file system that others share, gives it its own files, boots it with
    systemd-nspawn and waits until systemd inside says that it runs.
  - A host that died is booted again; a host that is no longer wanted is removed.
  - Processes are known by a tag in their environment, so that nothing else is ever killed.
options:
  state:
    description: Whether the hosts are to run or to be gone.
    type: str
    choices: [present, absent]
    default: present
  prefix:
    description: What the names of the hosts' network namespaces begin with.
    type: str
    required: true
  addresses:
    description: The address of each host.
    type: dict
    default: {}
  sysctl:
    description: Kernel settings of each host, by host.
    type: dict
    default: {}
  rootfs:
    description: The root file system of each host, by host. Several may share one.
    type: dict
  key_dir:
    description:
      - Directory with C(ssh_config), C(id_ed25519.pub) and one C(host_NAME) key pair for each host.
      - The lab belongs to it. While it exists, no other can make, change or remove the lab.
    type: path
    required: true
  state_dir:
    description: Directory that holds the hosts.
    type: path
    required: true
  boot_timeout_s:
    description: How long a host may take to boot.
    type: int
    default: 90
attributes:
  check_mode:
    support: full
    description: Plans against the machine's state and changes nothing.
  diff_mode:
    support: full
    description: Shows the planned operations, one a line.
author:
  - copytool
"""

EXAMPLES = r"""
- name: Boot two hosts
  copytool_lab_hosts:
    prefix: ctlab
    addresses:
      online: 192.168.50.10
      target: 192.168.50.101
    rootfs:
      online: /var/cache/copytool-lab/rootfs-bookworm-0123456789ab
      target: /var/cache/copytool-lab/rootfs-bookworm-0123456789ab
    key_dir: /home/me/copytool/.lab
    state_dir: /var/lib/copytool-lab
"""

RETURN = r"""
operations:
  description: What was done, or would be in check mode, one a line.
  type: list
  elements: str
  returned: always
"""

import time
import uuid
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.lab_hosts_plan import describe, fresh_hosts, host_files, plan_absent, plan_present
from ansible.module_utils.lab_hosts_system import HostError, Hosts
from ansible.module_utils.lab_lock import LockError, lock
from ansible.module_utils.lab_mounts import MountError
from ansible.module_utils.lab_nspawn import StartError, TracesError
from ansible.module_utils.lab_owner import OwnerError, note_owner, require_own
from ansible.module_utils.lab_processes import ProcessesSurviveError
from ansible.module_utils.lab_rootfs_plan import BUILD_ID

_POLL_S = 0.1


def wanted_hosts(params: dict[str, Any], check_mode: bool) -> dict[str, Any]:
    """The planner's wanted state for the module's parameters."""
    keys = Path(params["key_dir"])

    def read_key(name: str) -> str:
        try:
            return (keys / name).read_text()
        except FileNotFoundError:
            if check_mode:
                return ""
            raise HostError(f"{keys / name} is missing: run the whole lab role, which makes it") from None

    hosts = {}
    for name in params["addresses"]:
        rootfs = Path(params["rootfs"][name])
        hosts[name] = {
            "lower": str(rootfs),
            "build": build_id(rootfs),
            "files": host_files(
                name,
                addresses=params["addresses"],
                sysctl=params["sysctl"].get(name, {}),
                machine_id=uuid.uuid5(uuid.NAMESPACE_URL, f"{params['state_dir']}/{name}").hex,
                keys={
                    "authorized": read_key("id_ed25519.pub"),
                    "host": read_key(f"host_{name}"),
                    "host_public": read_key(f"host_{name}.pub"),
                },
            ),
        }
    return {"hosts": hosts}


def build_id(rootfs: Path) -> str:
    """What tells this root file system from another build at the same place."""
    try:
        return (rootfs / BUILD_ID).read_text().strip()
    except FileNotFoundError:
        return str(rootfs)


def wait_until_running(hosts: Hosts, names: list[str], fresh: set[str], timeout_s: int) -> list[str]:
    """Wait until systemd in each host has booted; return warnings about units that failed."""
    warnings = []
    deadline = time.monotonic() + timeout_s
    for name in names:
        while (state := hosts.system_state(name)) not in ("running", "degraded"):
            if not hosts.has_processes(name):
                raise HostError(f"host {name} ended while booting; its console says:\n{hosts.log_tail(name)}")
            if time.monotonic() > deadline:
                found = f"host {name} is '{state or 'silent'}' after {timeout_s} s"
                raise HostError(f"{found}; its console says:\n{hosts.log_tail(name)}")
            time.sleep(_POLL_S)
        if state == "degraded":
            message = f"host {name} is degraded, these units failed: {hosts.failed_units(name)}"
            if name in fresh:
                raise HostError(message)
            warnings.append(message)
    return warnings


def make_plan(module: AnsibleModule, hosts: Hosts) -> list[dict[str, Any]]:
    """What is to be done now."""
    if module.params["state"] == "absent":
        return plan_absent(hosts.read({}))
    wanted = wanted_hosts(module.params, module.check_mode)
    return plan_present(wanted, hosts.read(wanted["hosts"]))


def run(module: AnsibleModule) -> list[dict[str, Any]]:
    """Plan, and apply when not in check mode."""
    params = module.params
    state_dir, key_dir = Path(params["state_dir"]), Path(params["key_dir"])
    require_own(state_dir, key_dir)
    hosts = Hosts(state_dir, params["prefix"])
    if module.check_mode or (params["state"] == "absent" and not state_dir.exists()):
        return make_plan(module, hosts)
    with lock(state_dir):
        require_own(state_dir, key_dir)
        note_owner(state_dir, key_dir)
        operations = make_plan(module, hosts)
        hosts.apply(operations)
        if params["state"] == "present":
            names = list(params["addresses"])
            for warning in wait_until_running(hosts, names, fresh_hosts(operations), params["boot_timeout_s"]):
                module.warn(warning)
    return operations


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "prefix": {"type": "str", "required": True},
            "addresses": {"type": "dict", "default": {}},
            "sysctl": {"type": "dict", "default": {}},
            "rootfs": {"type": "dict"},
            "key_dir": {"type": "path", "required": True, "no_log": False},
            "state_dir": {"type": "path", "required": True},
            "boot_timeout_s": {"type": "int", "default": 90},
        },
        required_if=[("state", "present", ("rootfs",))],
        supports_check_mode=True,
    )
    try:
        operations = run(module)
    except (HostError, LockError, MountError, OwnerError, StartError, TracesError, ProcessesSurviveError) as error:
        module.fail_json(msg=str(error))
    lines = [describe(operation) for operation in operations]
    prepared = "".join(f"{line}\n" for line in lines)
    module.exit_json(changed=bool(operations), operations=lines, diff={"prepared": prepared})


if __name__ == "__main__":
    main()
