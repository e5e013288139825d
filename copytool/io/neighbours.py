"""Has the kernel look for next hops and check them, from a process of its own that alone keeps CAP_NET_ADMIN.

With that capability one may reconfigure the whole host's network, and the mirror parses what anybody sends. The kernel
looks at the rights of whoever asks and not only of who opened the socket, so it cannot be given up while asking goes
on. This process does nothing else, knows nothing of packets, and all that it can be asked for is that one address be
resolved on one interface.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import socket
import struct
from typing import Any, NoReturn

from .capabilities import CAP_NET_ADMIN, give_up_others
from .netlink import IPRoute, NetlinkError
from .processes import leave_parent

__all__ = ["FIXED", "FRESH", "NeighbourKeeper", "find_neighbour"]

_log = logging.getLogger(__name__)

FRESH = 0x02 | 0x08 | 0x10
"""States (NUD_*) reachable, delay, probe: the kernel is at it already."""

FIXED = 0x40 | 0x80
"""States noarp, permanent."""

_NUD_NONE = 0x00
_NTF_USE = 0x01
_NTF_EXT_LEARNED = 0x10
_REQUEST = struct.Struct("=BI16s")  # address family, interface index, address


class NeighbourKeeper:
    """The process, as seen by those that ask it: its parent, and what that forks later.

    It ends when none of them has its channel open any more.
    """

    def __init__(self) -> None:
        """Start it. Nothing may run in this process that a fork would break (threads)."""
        self.channel, its_channel = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.channel.setblocking(False)
        self.pid = os.fork()
        if self.pid == 0:
            _be_keeper(its_channel)
        its_channel.close()
        self._is_gone = False

    def resolve(self, family: int, index: int, address: str) -> None:
        """Have the kernel resolve, or check, the neighbour with this address on the interface with this index.

        Returns at once; find_neighbour() will tell.
        """
        try:
            self.channel.send(_REQUEST.pack(family, index, socket.inet_pton(family, address)))
        except BlockingIOError:
            return  # it has much to do; the next look-up asks again
        except OSError as error:
            if not self._is_gone:
                _log.error("next hops are not looked for any more, start copy again: process %d: %s", self.pid, error)
            self._is_gone = True

    def close(self) -> None:
        """Let it end, unless another process asks it, too."""
        self.channel.close()


def find_neighbour(netlink: IPRoute, family: int, index: int, address: str) -> Any:
    """Return the kernel's entry for a neighbour, None if there is none."""
    try:
        return next(iter(netlink.neigh("get", dst=address, ifindex=index, family=family)), None)
    except NetlinkError as error:
        if error.code != errno.ENOENT:
            raise
        return None


def _be_keeper(channel: socket.socket) -> NoReturn:
    """Run in the new process and never return: what is on the stack belongs to the parent."""
    status = 1
    try:
        leave_parent({channel.fileno()}, "next hops")
        give_up_others((CAP_NET_ADMIN,))
        _serve(channel)
        status = 0
    except BaseException:
        with contextlib.suppress(Exception):
            _log.critical("internal error, it ends; please report it", exc_info=True)
    finally:
        os._exit(status)


def _serve(channel: socket.socket) -> None:
    known = ""
    with IPRoute() as netlink:
        while request := channel.recv(_REQUEST.size):
            try:
                _resolve(netlink, request)
                reason = ""
            except Exception as error:  # whatever it is: another one cannot be started in its place
                reason = _reason(error)
            if reason and reason != known:
                _log.warning("cannot have the kernel look for them: %s", reason)
            known = reason


def _resolve(netlink: IPRoute, request: bytes) -> None:
    family, index, packed = _REQUEST.unpack(request)
    address = socket.inet_ntop(family, packed[: 4 if family == socket.AF_INET else 16])
    entry = find_neighbour(netlink, family, index, address)
    state, flags = (entry["state"], entry["flags"]) if entry is not None else (_NUD_NONE, 0)
    # The kernel takes NTF_USE as an update, which would turn a permanent or externally learnt entry into a
    # dynamic one, and a gateway that does not answer ARP into an unreachable one.
    managed = entry is not None and entry.get_attr("NDA_FLAGS_EXT")
    if not state & (FRESH | FIXED) and not flags & _NTF_EXT_LEARNED and not managed:
        key = {"dst": address, "ifindex": index, "family": family}
        netlink.neigh("replace", flags=flags | _NTF_USE, state=_NUD_NONE, **key)


def _reason(error: Exception) -> str:
    code = getattr(error, "code", None)
    if code == errno.EPERM:
        return "copy needs CAP_NET_ADMIN for that; run it as root or use the systemd unit"
    return errno.errorcode.get(code, str(error)) if isinstance(code, int) else str(error)
