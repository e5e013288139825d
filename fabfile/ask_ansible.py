"""What Ansible makes of an inventory, as JSON: python -P ask_ansible.py INVENTORY LIMIT KINDS.

A program of its own, because Ansible's modules are slow to import and change the process that imports them. It finds
hosts, patterns, variables, templates, vaults and settings as ansible-playbook does, as it is the same code.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from ansible import constants
from ansible.cli import CLI
from ansible.errors import AnsibleError
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.playbook.play_context import PlayContext
from ansible.plugins.loader import become_loader, connection_loader
from ansible.template import Templar
from ansible.vars.hostvars import HostVars
from ansible.vars.manager import VariableManager

SSH = (
    "host",
    "remote_user",
    "port",
    "private_key_file",
    "ssh_common_args",
    "ssh_extra_args",
    "ssh_executable",
    "host_key_checking",
)
"""What Ansible's ssh plugin knows under these names."""


class Asked:
    """An inventory, and what it says about its hosts."""

    def __init__(self, source: str) -> None:
        loader = DataLoader()
        secrets = CLI.setup_vault_secrets(loader, vault_ids=constants.DEFAULT_VAULT_IDENTITY_LIST, auto_prompt=False)
        loader.set_vault_secrets(secrets)
        self.loader = loader
        self.inventory = InventoryManager(loader=loader, sources=[source])
        self.variables = VariableManager(loader=loader, inventory=self.inventory)
        HostVars(
            inventory=self.inventory, variable_manager=self.variables, loader=loader
        )  # tells the manager of itself

    def groups(self) -> dict[str, list[str]]:
        """All groups' hosts, in the order of the inventory."""
        return {name: [host.name for host in self.inventory.get_hosts(name)] for name in self.inventory.groups}

    def selected(self, limit: str, kinds: dict[str, str]) -> list[str]:
        """The hosts that a pattern means, like --limit; a kind of host is short for its group."""
        if limit and limit in kinds and limit not in self.inventory.hosts and limit not in self.inventory.groups:
            limit = kinds[limit]
        self.inventory.subset(limit or None)
        return [host.name for host in self.inventory.get_hosts()]

    def reach(self, name: str) -> dict[str, Any]:
        """How Ansible reaches a host; {"problem": …} when its variables do not tell."""
        try:
            return self._reach(name)
        except AnsibleError as error:
            return {"problem": " ".join(str(error).split())}

    def _reach(self, name: str) -> dict[str, Any]:
        variables = self.variables.get_vars(host=self.inventory.get_host(name))
        templar = Templar(loader=self.loader, variables=variables)
        ssh, sudo = connection_loader.get("ssh", PlayContext(), None), become_loader.get("sudo")
        wanted = ["ansible_connection", "ansible_become_method"]
        for kind, plugin in (("connection", "ssh"), ("become", "sudo")):  # known once the plugin has been loaded
            wanted += constants.config.get_plugin_vars(kind, plugin)
        own = {key: templar.template(variables[key]) for key in wanted if key in variables}
        ssh.set_options(var_options=own)
        sudo.set_options(var_options=own)
        return {
            "connection": str(own.get("ansible_connection", constants.DEFAULT_TRANSPORT)),
            "become_method": str(own.get("ansible_become_method", constants.DEFAULT_BECOME_METHOD)),
            "become_password": sudo.get_option("become_pass"),
            **{key: ssh.get_option(key) for key in SSH},
        }


def main(source: str, limit: str, kinds: str) -> None:
    """Print it; on failure say why, and exit with status 1."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever else Ansible has to say is not JSON
    try:
        asked = Asked(source)
        groups = asked.groups()
        selected = asked.selected(limit, json.loads(kinds))
        hosts = {name: asked.reach(name) for name in selected}
    except AnsibleError as error:
        sys.exit(" ".join(str(error).split()))
    json.dump(
        {
            "groups": groups,
            "hosts": hosts,
            "forks": constants.DEFAULT_FORKS,
            "timeout_s": constants.DEFAULT_TIMEOUT,
        },
        out,
        default=str,
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
