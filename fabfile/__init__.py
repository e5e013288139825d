"""Everyday work on the mirror: `fab --list`, and `fab --help TASK` for one of them. More in docs/fabric.md.

Tasks work on the lab, or on the hosts of the inventory that --inventory (-i) or COPYTOOL_INVENTORY names; --hosts (-H)
behind the task selects some of them. Hosts are reached as Ansible reaches them, or with the ssh_config that
COPYTOOL_SSH_CONFIG or `fab -S` names.

Dependencies point downwards: the modules of tasks, report, reach and steps and crowd, fleet.
"""

from __future__ import annotations

from .commands import capture, run
from .plays import check, sessions
from .steering import copies, drain, pause, ratio, restart, resume, start, stop
from .watching import ended, follow, logs, route, status

__all__ = [
    "capture",
    "check",
    "copies",
    "drain",
    "ended",
    "follow",
    "logs",
    "pause",
    "ratio",
    "restart",
    "resume",
    "route",
    "run",
    "sessions",
    "start",
    "status",
    "stop",
]
