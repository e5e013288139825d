"""What this process may do (capabilities(7)): gives up what it does not need any more, and says what it has left.

The kernel keeps capabilities per thread: this is for a process that has one thread, and for what it starts later.
"""

from __future__ import annotations

import ctypes
import errno
import logging
import os
from collections.abc import Collection

__all__ = ["CAP_NET_ADMIN", "CAP_NET_RAW", "give_up_others", "held"]

_log = logging.getLogger(__name__)

CAP_NET_ADMIN = "CAP_NET_ADMIN"
CAP_NET_RAW = "CAP_NET_RAW"

_BITS = {CAP_NET_ADMIN: 12, CAP_NET_RAW: 13}
_CAP_SETPCAP = 8
_PR_CAPBSET_DROP = 24
_PR_SET_NO_NEW_PRIVS = 38
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_CLEAR_ALL = 4
_VERSION_3 = 0x20080522
_MOST_CAPABILITIES = 64


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Sets(ctypes.Structure):
    """32 capabilities' bits; the kernel takes two of these, the low ones first."""

    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


def held() -> list[str]:
    """Return the names of the capabilities in effect, `CAP_<number>` for those that copytool has no use for."""
    low, high = _read()
    mask = low.effective | high.effective << 32
    names = {bit: name for name, bit in _BITS.items()}
    return [names.get(bit, f"CAP_{bit}") for bit in range(_MOST_CAPABILITIES) if mask >> bit & 1]


def give_up_others(kept: Collection[str]) -> None:
    """Give up all capabilities but `kept`, for good: no program that is started later has or gets more.

    What the kernel refuses is logged, and the daemon runs all the same: it has no more than it was started with.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    wanted = sum(1 << _BITS[name] for name in kept)
    try:
        _prctl(libc, _PR_SET_NO_NEW_PRIVS, 1)
        low, high = _read()
        if low.effective >> _CAP_SETPCAP & 1:
            _narrow_bounding_set(libc, wanted)
        _prctl(libc, _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
        low.permitted &= wanted
        high.permitted = 0
        for sets in (low, high):
            sets.effective, sets.inheritable = sets.permitted, 0
        _call("capset", libc.capset(ctypes.byref(_Header(_VERSION_3, 0)), (_Sets * 2)(low, high)))
    except OSError as error:
        _log.warning("cannot give up privileges (%s); going on with %s", error, ", ".join(held()) or "none")


def _narrow_bounding_set(libc: ctypes.CDLL, wanted: int) -> None:
    """Take care that root, which would get all of the bounding set with the next program it starts, does not."""
    for bit in range(_MOST_CAPABILITIES):
        if wanted >> bit & 1:
            continue
        try:
            _prctl(libc, _PR_CAPBSET_DROP, bit)
        except OSError as error:
            if error.errno == errno.EINVAL:  # the kernel has no more of them
                return
            raise


def _read() -> tuple[_Sets, _Sets]:
    libc = ctypes.CDLL(None, use_errno=True)
    sets = (_Sets * 2)()
    _call("capget", libc.capget(ctypes.byref(_Header(_VERSION_3, 0)), sets))
    return sets[0], sets[1]


def _prctl(libc: ctypes.CDLL, option: int, argument: int) -> None:
    _call("prctl", libc.prctl(option, *map(ctypes.c_ulong, (argument, 0, 0, 0))))


def _call(name: str, result: int) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{name}: {os.strerror(code)}")
