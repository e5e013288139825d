#!/usr/bin/python
"""Ansible module: the lab's network namespaces, switch and links."""

from __future__ import annotations

DOCUMENTATION = r"""
module: copytool_lab_network
short_description: Make or remove the network of the copytool lab
description:
  - Makes one network namespace for each host and one for a switch, joined by veth pairs to a bridge in the switch.
  - Notes in a registry what it makes, and removes only that.
options:
  state:
    description: Whether the network is to be there.
    type: str
    choices: [present, absent]
    default: present
  prefix:
    description: What the names of the namespaces begin with.
    type: str
    required: true
  interface:
    description: Name of the interface in each host.
    type: str
    default: ens18
  bridge:
    description: Name of the bridge in the switch.
    type: str
    default: br0
  hosts:
    description: The addresses, with prefix lengths, of each host.
    type: dict
    default: {}
  state_dir:
    description: Directory that holds the registry.
    type: path
    required: true
attributes:
  check_mode:
    support: full
    description: Plans against the kernel's state and changes nothing.
  diff_mode:
    support: full
    description: Shows the planned operations, one a line.
author:
  - copytool
"""

EXAMPLES = r"""
- name: Join two hosts
  copytool_lab_network:
    prefix: ctlab
    hosts:
      online: [192.168.50.10/24]
      target: [192.168.50.101/24]
    state_dir: /var/lib/copytool-lab
"""

RETURN = r"""
operations:
  description: What was done, or would be in check mode.
  type: list
  elements: dict
  returned: always
"""

import traceback
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible.module_utils.lab_lock import LockError, lock
from ansible.module_utils.lab_network_plan import PlanError, describe, plan_absent, plan_present
from ansible.module_utils.lab_processes import ProcessesSurviveError

try:
    from ansible.module_utils.lab_network_kernel import Registry, apply, read_state

    IMPORT_ERROR = None
except ImportError:
    IMPORT_ERROR = traceback.format_exc()


def wanted_network(params: dict[str, Any]) -> dict[str, Any]:
    """The planner's wanted state for the module's parameters."""
    return {
        "switch": f"{params['prefix']}-switch",
        "bridge": params["bridge"],
        "interface": params["interface"],
        "hosts": {
            name: {"netns": f"{params['prefix']}-{name}", "addresses": addresses}
            for name, addresses in params["hosts"].items()
        },
    }


def make_plan(params: dict[str, Any], registry: Any) -> list[dict[str, Any]]:
    """What is to be done now."""
    if params["state"] == "absent":
        return plan_absent(read_state(registry, []))
    wanted = wanted_network(params)
    names = [wanted["switch"], *(host["netns"] for host in wanted["hosts"].values())]
    return plan_present(wanted, read_state(registry, names))


def run(module: AnsibleModule) -> list[dict[str, Any]]:
    """Plan, and apply when not in check mode."""
    state_dir = Path(module.params["state_dir"])
    registry = Registry(state_dir / "network.json")
    if module.check_mode or (module.params["state"] == "absent" and not state_dir.exists()):
        return make_plan(module.params, registry)
    with lock(state_dir):
        operations = make_plan(module.params, registry)
        apply(operations, registry)
    return operations


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "prefix": {"type": "str", "required": True},
            "interface": {"type": "str", "default": "ens18"},
            "bridge": {"type": "str", "default": "br0"},
            "hosts": {"type": "dict", "default": {}},
            "state_dir": {"type": "path", "required": True},
        },
        supports_check_mode=True,
    )
    if IMPORT_ERROR:
        module.fail_json(msg=missing_required_lib("pyroute2"), exception=IMPORT_ERROR)
    try:
        operations = run(module)
    except (LockError, PlanError, ProcessesSurviveError) as error:
        module.fail_json(msg=str(error))
    prepared = "".join(f"{describe(operation)}\n" for operation in operations)
    module.exit_json(changed=bool(operations), operations=operations, diff={"prepared": prepared})


if __name__ == "__main__":
    main()
