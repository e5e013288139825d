"""`copytool exporter`."""

from __future__ import annotations

import logging
import signal
from ipaddress import ip_address
from typing import Any

from ..errors import ConfigError
from ..io.control import ROLES
from .daemonise import set_up_logging
from .version import version_text

__all__ = ["run_exporter"]

_log = logging.getLogger("copytool")


def run_exporter(values: dict[str, Any]) -> None:
    """Serve metrics until SIGTERM or SIGINT."""
    # Imported late: nobody else needs Prometheus' client.
    from ..io.exporter import Exporter
    from ..io.notify import notify_systemd

    address, port = values["listen"]
    parsed = ip_address(address)
    if (parsed.is_unspecified or not parsed.is_private) and not values["allow_public"]:
        raise ConfigError(f"--listen: {address} may be reached from anywhere; say --allow-public if that is meant")
    set_up_logging("exporter", values["log_file"], values["log_level"])
    exporter = Exporter(address, port, {role: path for role in ROLES if (path := values[f"{role}_socket"])})
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: exporter.stop())
    notify_systemd("READY=1")
    _log.info("exporter %s serves metrics on %s port %d", version_text(), address, exporter.port)
    exporter.serve()
    exporter.close()
    _log.info("exporter stopped")
