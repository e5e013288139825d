"""Control sockets that answer, served by a loop in a thread, as daemons do it."""

from __future__ import annotations

import selectors
import socket
import threading
from collections.abc import Mapping
from pathlib import Path

from copytool.io.control import Command, ControlServer
from copytool.io.loop import EventLoop


class Answering:
    """Serves the commands of each path until close()."""

    def __init__(self, commands: Mapping[Path, Mapping[str, Command]]) -> None:
        self._loop = EventLoop()
        self.servers = {path: ControlServer(self._loop, path, own) for path, own in commands.items()}
        self._stop, self._stopped = socket.socketpair()
        self._loop.watch(self._stopped, selectors.EVENT_READ, lambda _events: self._loop.stop())
        self._thread = threading.Thread(target=self._loop.run)
        self._thread.start()

    def close(self) -> None:
        """End it, and remove the sockets."""
        self._stop.send(b"x")
        self._thread.join(10)
        for server in self.servers.values():
            server.close()
        self._loop.close()
        self._stop.close()
        self._stopped.close()
