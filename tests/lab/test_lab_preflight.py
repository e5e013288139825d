"""What the lab's preflight says of a machine that has too little of something, where the kernel can be made to."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from .conftest import as_root

pytestmark = pytest.mark.lab

IN_A_USER_NAMESPACE = """
echo "$1" > /proc/sys/user/max_inotify_instances && shift && exec "$@"
"""
TRY_ONE_HOST = """
import ansible.module_utils
from support.loading import ROLES, load
ansible.module_utils.__path__.append(str(ROLES / "lab/module_utils"))
preflight = load("lab/library/copytool_lab_preflight.py")
try:
    preflight.require_inotify(1)
except preflight.UnfitError as error:
    print(error)
"""


@pytest.mark.parametrize(("instances", "said"), [(6, ""), (5, "root can have only 5 more: ")])
def test_inotify_instances_are_counted_before_a_host_boots(instances: int, said: str) -> None:
    """A host that finds none hangs in its boot. A user namespace has a limit of its own."""
    program = ["env", f"PYTHONPATH={Path(__file__).parents[1]}", sys.executable, "-B", "-c", TRY_ONE_HOST]
    shell = ["unshare", "--user", "--map-root-user", "sh", "-c", IN_A_USER_NAMESPACE, "sh", str(instances)]
    output = as_root(*shell, *program)
    assert (said in output) if said else output == ""
