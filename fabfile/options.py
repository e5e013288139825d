"""What all tasks have in common: the options that choose hosts."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fabric import Connection, Task, task
from fabric.main import make_program
from invoke import Context, Exit

from .fleet import REPOSITORY, Fleet, read_fleet

INVENTORY_SUFFIXES = (".yml", ".yaml", ".ini", ".json", ".toml")
INVENTORY = {"inventory": "inventory to work on (COPYTOOL_INVENTORY, else inventory/lab)"}
SELECTION = {"hosts": "only these hosts: names, groups, patterns, as for Ansible's --limit", **INVENTORY}
DAEMON = {"daemon": "intercept, copy or forward; all when not given"}
SHORT = {"inventory": "i", "hosts": "H"}
NEVER_SHORT = "h"


class FleetTask(Task):
    """A task with -i for --inventory and -H for --hosts, and -h left to --help."""

    def arg_opts(self, name: str, default: Any, taken_names: set[str]) -> dict[str, Any]:
        """How an option is given."""
        taken = taken_names | {NEVER_SHORT, *SHORT.values()}
        options: dict[str, Any] = super().arg_opts(name, default, taken)
        if name in SHORT:
            options["names"] = [name, SHORT[name]]
        elif name.startswith(NEVER_SHORT):
            options["names"] = [name]
        return options

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run it. Behind a task that needs a value, --help comes here as that value."""
        if {"--help", "-h"} & {value for value in kwargs.values() if isinstance(value, str)}:
            make_program().run(["fab", "-r", str(REPOSITORY), "--help", self.name])
        return super().__call__(*args, **kwargs)


def fleet_task(**options: str) -> Callable[[Callable[..., None]], FleetTask]:
    """Makes a function a task; options are its options' help texts."""
    made: Callable[[Callable[..., None]], FleetTask] = task(klass=FleetTask, help=options)
    return made


def fleet_of(context: Context, inventory: str, hosts: str = "") -> Fleet:
    """The hosts that a task is to work on. What fab's own options say about connections counts for them, too."""
    if isinstance(context, Connection):
        raise Exit(f"-H before the task is fab's own; write it behind the task: --hosts {context.original_host}")
    given = context.config.get("connect_kwargs", {})
    keys = [str(path) for path in given.get("key_filename") or []]
    inventories = [path for path in keys if is_inventory(path)]
    if len(inventories) > 1 or (inventories and inventory):
        raise Exit("more than one inventory: give one, behind the task")
    overrides: dict[str, Any] = {}
    if config := os.environ.get("COPYTOOL_SSH_CONFIG") or getattr(context.config, "_runtime_ssh_path", None):
        if not Path(config).is_file():
            raise Exit(f"no {config}; check COPYTOOL_SSH_CONFIG or -S")
        overrides["ssh_common_args"] = f"-F '{Path(config).resolve()}'"
    if own := [path for path in keys if not is_inventory(path)]:
        overrides["private_key_file"] = own[0]
    if given.get("timeout"):
        overrides["connect_timeout_s"] = given["timeout"]
    return read_fleet(inventory or next(iter(inventories), ""), hosts, overrides)


def is_inventory(path: str) -> bool:
    """Whether what stands behind fab's own -i is an inventory: a directory, or a file that is named like one."""
    return Path(path).is_dir() or path.endswith(INVENTORY_SUFFIXES)
