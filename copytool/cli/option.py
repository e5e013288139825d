"""What an option is, and those that several commands have."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import ConfigError
from ..io.log_level import LOG_LEVELS
from . import values

__all__ = ["COMMON", "INTERFACE", "LINK", "LOG_LEVEL", "PORT", "Option", "parse_path"]


@dataclass(frozen=True, slots=True)
class Option:
    """One option. A switch has no `parse`; a list option takes commas and repetition."""

    long: str
    help: str
    short: str = ""
    metavar: str = ""
    parse: Callable[[str], Any] | None = None
    default: Any = None
    is_list: bool = False

    @property
    def key(self) -> str:
        """The option's name in the configuration file."""
        return self.long.replace("-", "_")

    @property
    def label(self) -> str:
        """The option's name in messages."""
        return f"-{self.short} (--{self.long})" if self.short else f"--{self.long}"


def parse_path(text: str) -> Path:
    if not text or "\0" in text:
        raise ConfigError(f"{text!r} is no file name")
    return Path(text).absolute()  # -d changes the directory


def _log_level(text: str) -> str:
    if text not in LOG_LEVELS:
        raise ConfigError(f"{text!r} is not debug, info, warning or error")
    return text


PORT = values.integer(1, 65535)

INTERFACE = Option(
    "interface", "capture only on these interfaces", "i", "IFACE,...", values.parse_interfaces, is_list=True
)

LOG_LEVEL = Option("log-level", "debug, info, warning or error", metavar="LEVEL", parse=_log_level, default="info")

LINK = (
    Option(
        "tls-cert",
        "the link is encrypted with this certificate; a PEM file, which may have the private key in it as well",
        metavar="FILE",
        parse=parse_path,
    ),
    Option("tls-key", "the certificate's private key, if it is in a file of its own", metavar="FILE", parse=parse_path),
    Option(
        "tls-ca",
        "PEM file of the authorities: the other end's certificate has to be from one of them",
        metavar="FILE",
        parse=parse_path,
    ),
    Option("plain", "the link is not encrypted: who can reach it may read it, and pretend to be the other end"),
)

COMMON = (
    Option(
        "control-socket", "unix socket that `copytool status` and other commands ask", metavar="PATH", parse=parse_path
    ),
    Option("daemon", "run in the background, with a pid file and a log file", short="d"),
    Option("pid-file", "pid file; with -d /run/copytool/ROLE/pid unless given", "P", "PATH", parse_path),
    Option("log-file", "log file; with -d /var/log/copytool-ROLE.log unless given", "l", "PATH", parse_path),
    LOG_LEVEL,
)
