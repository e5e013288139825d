"""`copytool exporter`: serves the daemons' figures to Prometheus, in a process of its own.

HTTP stays out of the process that carries packets: whoever floods this one slows down metrics, and nothing else. One
request is answered at a time, and a client that does not send it in time is dropped.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, make_wsgi_app

from ..errors import CopytoolError, HostError
from .control import ask_daemon, default_sockets
from .metrics import StatusCollector

__all__ = ["Exporter"]

_log = logging.getLogger(__name__)

_REQUEST_S = 5.0
_ANSWER_S = 2.0
_POLL_S = 0.5


class Exporter:
    """Listens on an address and answers GET /metrics."""

    def __init__(self, address: str, port: int, sockets: Mapping[str, Path] | None = None) -> None:
        """sockets: control sockets by role; the default ones that exist if there are none. Raises HostError."""
        self._sockets = dict(sockets or {})
        self._finds_sockets = not sockets
        self._failed: dict[str, str] = {}
        registry = CollectorRegistry(auto_describe=False)
        registry.register(StatusCollector(self._ask))
        kind = _Server6 if ":" in address else _Server4
        try:
            self._server = kind((address, port), _Handler)
        except OSError as error:
            raise HostError(f"cannot listen on {address} port {port} (--listen): {error.strerror}") from None
        self._server.set_app(make_wsgi_app(registry))
        self.port: int = self._server.server_address[1]

    def serve(self) -> None:
        """Answer until stop()."""
        self._server.serve_forever(poll_interval=_POLL_S)

    def stop(self) -> None:
        """Make serve() return after the request that it is at; for signal handlers, too."""
        threading.Thread(target=self._server.shutdown, daemon=True).start()  # it waits for serve()

    def close(self) -> None:
        """Stop listening."""
        self._server.server_close()

    def _ask(self) -> dict[str, dict[str, Any] | None]:
        if self._finds_sockets:  # one that was there once is missed when it is gone
            self._sockets |= default_sockets()
        answers: dict[str, dict[str, Any] | None] = {}
        for role, path in self._sockets.items():
            try:
                answers[role] = ask_daemon(path, "status", timeout_s=_ANSWER_S)
                self._failed.pop(role, None)
            except CopytoolError as error:
                answers[role] = None
                if self._failed.get(role) != str(error):  # once for each cause
                    _log.warning("no metrics of %s: %s", role, error)
                self._failed[role] = str(error)
        return answers


class _Server4(WSGIServer):
    address_family = socket.AF_INET
    request_queue_size = 16

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is no error of ours."""
        _log.debug("a scrape by %s failed", client_address, exc_info=True)

    def server_bind(self) -> None:
        """Bind without looking up the host's name, which may take as long as a name server wishes."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = self.server_address[:2]  # type: ignore[assignment]
        self.setup_environ()


class _Server6(_Server4):
    address_family = socket.AF_INET6


class _Handler(WSGIRequestHandler):
    def handle(self) -> None:
        """Answer one request; whoever sends it octet by octet is cut off, because others wait."""
        self._limit = threading.Timer(_REQUEST_S, self._cut_off)
        self._limit.daemon = True
        self._limit.start()
        try:
            super().handle()
        finally:
            self._limit.cancel()

    def get_environ(self) -> dict[str, Any]:
        """Return the request, which is complete."""
        self._limit.cancel()
        self.connection.settimeout(_REQUEST_S)  # for a client that does not read
        return super().get_environ()

    def _cut_off(self) -> None:
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def address_string(self) -> str:
        """Return the client's address as it is: no look-up."""
        return str(self.client_address[0])

    def log_message(self, format: str, *args: Any) -> None:
        """Log no single scrape."""
