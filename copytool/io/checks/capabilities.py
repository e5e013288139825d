"""Whether copytool may do what it has to."""

from __future__ import annotations

from ..capabilities import CAP_NET_ADMIN, CAP_NET_RAW, held
from .daemon import Daemon
from .result import Result, failed, ok

__all__ = ["check_capabilities"]

_NEEDED = {"copy": (CAP_NET_ADMIN, CAP_NET_RAW), "intercept": (CAP_NET_RAW,), "forward": (CAP_NET_RAW,)}


def check_capabilities(daemon: Daemon) -> Result:
    """Whether this process has the capabilities; a daemon that runs had them when it was started."""
    needed = _NEEDED[daemon.role]
    missing = sorted(set(needed) - set(held()))
    if daemon.runs:
        more = f"; this command lacks {', '.join(missing)} and cannot look at everything" if missing else ""
        return ok("capabilities", f"the running {daemon.role} has what it needs{more}")
    if missing:
        cause = f"this process lacks {', '.join(missing)}"
        return failed("capabilities", "not enough", cause, "run as root, or as the systemd unit does")
    return ok("capabilities", ", ".join(needed))
