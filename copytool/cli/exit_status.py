"""Exit statuses of the copytool command; `--help` and docs repeat this table."""

from __future__ import annotations

from enum import IntEnum

__all__ = ["ExitStatus"]


class ExitStatus(IntEnum):
    """What the command's exit status means."""

    OK = 0
    """Done, or ended by SIGTERM or SIGINT."""

    INTERNAL_ERROR = 1
    """A bug; the message asks to report it."""

    USAGE = 2
    """A flag, a value or the configuration file is wrong."""

    HOST = 3
    """The host refuses something: a capability, an interface, a port, a file, or no daemon answers."""

    CHECK_FAILED = 4
    """`copytool check` has found what keeps sessions from arriving."""
