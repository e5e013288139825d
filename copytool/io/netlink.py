"""pyroute2, without what it says while it loads: that a part of it that is not used here misses a file in /proc."""

from __future__ import annotations

import logging

logging.getLogger("pyroute2.netlink.rtnl.tcmsg.common").setLevel(logging.ERROR)

from pyroute2 import IPRoute  # noqa: E402
from pyroute2.netlink.exceptions import NetlinkError  # noqa: E402

__all__ = ["IPRoute", "NetlinkError"]
