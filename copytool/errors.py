"""Errors of the package, one base class. The command line turns each into one line and an exit status."""

from __future__ import annotations

__all__ = ["ConfigError", "CopytoolError", "DecodeError", "HostError"]


class CopytoolError(Exception):
    """Base of every error that copytool raises on purpose; its text names what, where and what to do."""


class ConfigError(CopytoolError):
    """A flag or a configuration file value cannot be used."""


class HostError(CopytoolError):
    """The operating system refused something that is needed to start (a capability, an interface, a port)."""


class DecodeError(CopytoolError):
    """Bytes from a link peer are not a valid frame. The only error that decoding peer input may raise."""
