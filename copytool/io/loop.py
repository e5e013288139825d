"""A small event loop: file descriptors, timed services and signals, one thread."""

from __future__ import annotations

import contextlib
import errno
import logging
import select
import selectors
import signal
import socket
import time
from collections.abc import Callable
from typing import Any, Protocol

from . import waiting

__all__ = ["EventLoop", "Service"]

_log = logging.getLogger(__name__)

_MAX_SLEEP_S = 3600.0
_MAX_READY = 64
_READ = selectors.EVENT_READ
_WRITE = selectors.EVENT_WRITE
_IN = select.EPOLLIN
_OUT = select.EPOLLOUT
_NEVER = float("inf")
SERVICE_REST_S = 1.0
"""How long a service that raised is not called: a bug that comes back each time must not make the loop a busy one."""
FILE_REST_S = 0.1
"""How long a file whose callback raised is not looked at."""
ACCEPT_REST_S = 1.0
"""How long a listening socket waits when there is no descriptor, or no memory, for a new connection."""
_NOTHING_LEFT = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class HasFileno(Protocol):
    """Anything with a file descriptor."""

    def fileno(self) -> int:
        """Return the descriptor."""
        ...


class Service(Protocol):
    """Something the loop calls back by time."""

    def next_timer(self) -> float:
        """Return when handle_timer wants to be called, on the clock of EventLoop.now()."""
        ...

    def handle_timer(self, now: float) -> None:
        """Act on deadlines that have come."""
        ...


class _Watch:
    """A file that is watched: for which of selectors' events, and what to call."""

    __slots__ = ("callback", "events", "fileobj")

    def __init__(self, fileobj: HasFileno, events: int, callback: Callable[[int], None]) -> None:
        self.fileobj = fileobj
        self.events = events
        self.callback = callback


class EventLoop:
    """Runs callbacks until stop() is called.

    An exception in a callback is logged and counted (`failures`), the callback rests for a while, and the loop goes
    on: no single packet, peer or request may end the daemon. `starved` counts accept() without a descriptor left.
    `pace()`, if there is one, says after each round how many seconds after its beginning the next may begin.
    """

    def __init__(self) -> None:
        self.failures = 0
        self.starved = 0
        self.services: list[Service] = []
        self.pace: Callable[[], float] | None = None
        self._epoll = select.epoll()
        self._watches: dict[int, _Watch] = {}
        self._descriptors: dict[HasFileno, int] = {}
        self._running = False
        self._paused: dict[Service, float] = {}
        self._resting: dict[HasFileno, _Rest] = {}
        self._signal_handlers: dict[int, Callable[[], None]] = {}
        self._wakeup, self._wakeup_write = socket.socketpair()
        self._wakeup.setblocking(False)
        self._wakeup_write.setblocking(False)
        self._wakeup_descriptor = self._wakeup.fileno()
        self.watch(self._wakeup, selectors.EVENT_READ, self._dispatch_signals)

    @staticmethod
    def now() -> float:
        """Return the time on the loop's clock, in seconds; it does not jump when the wall clock is set."""
        return time.monotonic()

    def watch(self, fileobj: HasFileno, events: int, callback: Callable[[int], None]) -> None:
        """Call `callback(ready events)` whenever `fileobj` is ready; replaces an earlier watch.

        events: selectors.EVENT_READ, EVENT_WRITE or both.
        """
        self._end_rest(fileobj)
        descriptor = fileobj.fileno()
        wanted = (_IN if events & _READ else 0) | (_OUT if events & _WRITE else 0)
        try:
            self._epoll.register(descriptor, wanted)
        except FileExistsError:
            self._epoll.modify(descriptor, wanted)
        self._watches[descriptor] = _Watch(fileobj, events, callback)
        self._descriptors[fileobj] = descriptor

    def unwatch(self, fileobj: HasFileno) -> None:
        """Stop watching, also if it was not watched, or is closed by now."""
        self._end_rest(fileobj)
        self._forget(fileobj)

    def _forget(self, fileobj: HasFileno) -> _Watch | None:
        """Stop watching; return the watch that there was."""
        descriptor = self._descriptors.pop(fileobj, -1)
        watch = self._watches.get(descriptor)
        if watch is None or watch.fileobj is not fileobj:  # it was closed, and another file has its number by now
            return None
        del self._watches[descriptor]
        with contextlib.suppress(OSError):  # closing it has ended the kernel's watch
            self._epoll.unregister(descriptor)
        return watch

    def rest(self, fileobj: HasFileno, seconds: float) -> None:
        """Do not look at a watched file for a while; watch() and unwatch() end that."""
        watch = self._forget(fileobj)
        if watch is not None:
            rest = _Rest(self, watch, self.now() + seconds)
            self._resting[fileobj] = rest
            self.services.append(rest)

    def accept(self, listener: socket.socket) -> tuple[socket.socket, Any] | None:
        """Return a new connection and its address; None if it is gone already, or has to wait."""
        try:
            return listener.accept()
        except OSError as error:
            if error.errno in _NOTHING_LEFT:
                if not self.starved:
                    _log.warning("cannot accept connections: %s; see `ulimit -n` and LimitNOFILE=", error.strerror)
                self.starved += 1
                self.rest(listener, ACCEPT_REST_S)
            return None

    def _end_rest(self, fileobj: HasFileno) -> None:
        if fileobj in self._resting:
            self.services.remove(self._resting.pop(fileobj))

    def on_signal(self, number: int, handler: Callable[[], None]) -> None:
        """Call `handler` in the loop, not in the signal's context, when signal `number` arrives."""
        self._signal_handlers[number] = handler
        signal.signal(number, lambda *_: None)
        signal.set_wakeup_fd(self._wakeup_write.fileno(), warn_on_full_buffer=False)

    def stop(self) -> None:
        """Make run() return after the current round."""
        self._running = False

    def run(self) -> None:
        """Serve until stop()."""
        self._running = True
        while self._running:
            deadline = self._next_deadline()
            timeout_s = min(max(deadline - self.now(), 0.0), _MAX_SLEEP_S)
            for descriptor, ready in self._epoll.poll(timeout_s, _MAX_READY):
                self._dispatch(descriptor, ready)
            now = self.now()
            if deadline <= now:
                self._serve(now)
            if self.pace is not None:
                rest_s = now + self.pace() - self.now()
                if rest_s > 0:
                    waiting.wait_readable(self._wakeup_descriptor, rest_s)  # a signal ends the rest

    def _dispatch(self, descriptor: int, ready: int) -> None:
        """Call back for a file that is ready, unless an earlier callback of this round has ended its watch."""
        watch = self._watches.get(descriptor)
        if watch is None:
            return
        events = watch.events
        if not ready & ~(_IN | _OUT):  # an error or a hang-up is news to readers and writers
            events &= (_READ if ready & _IN else 0) | (_WRITE if ready & _OUT else 0)
        if events and not self._guard(watch.callback, events):
            self.rest(watch.fileobj, FILE_REST_S)

    def _next_deadline(self) -> float:
        deadline = _NEVER
        for service in self.services:
            deadline = min(deadline, self._due(service))
        return deadline

    def _serve(self, now: float) -> None:
        """Call the services whose time has come. One that got due in this round is called in the next."""
        for service in self.services[:]:
            if self._due(service) <= now and not self._guard(service.handle_timer, now):
                self._pause(service, now)

    def _due(self, service: Service) -> float:
        return max(service.next_timer(), self._paused.get(service, 0.0)) if self._paused else service.next_timer()

    def _pause(self, failed: Service, now: float) -> None:
        """Note when `failed` may be called again; forget the others' pauses that are over."""
        self._paused = {service: until for service, until in self._paused.items() if until > now}
        self._paused[failed] = now + SERVICE_REST_S

    def close(self) -> None:
        """Release the loop's descriptors."""
        if self._signal_handlers:
            signal.set_wakeup_fd(-1)
        self._epoll.close()
        self._wakeup.close()
        self._wakeup_write.close()

    def note_failure(self) -> None:
        """Count the exception being handled, and log it."""
        self.failures += 1
        with contextlib.suppress(Exception):  # nor may a log that cannot be written
            _log.exception("internal error %d (copytool goes on; please report it)", self.failures)

    def _guard(self, callback: Callable[..., None], argument: float) -> bool:
        """Call back; return whether that went well."""
        try:
            callback(argument)
        except Exception:
            self.note_failure()
            return False
        return True

    def _dispatch_signals(self, _events: int) -> None:
        with contextlib.suppress(BlockingIOError):
            for number in self._wakeup.recv(64):
                handler = self._signal_handlers.get(number)
                if handler is not None:
                    handler()


class _Rest:
    """A service that watches a file again when its time has come."""

    def __init__(self, loop: EventLoop, watch: _Watch, until: float) -> None:
        self._loop = loop
        self._watch = watch
        self._until = until

    def next_timer(self) -> float:
        """Return when handle_timer wants to be called."""
        return self._until

    def handle_timer(self, _now: float) -> None:
        """End the rest."""
        watch = self._watch
        self._loop.watch(watch.fileobj, watch.events, watch.callback)
