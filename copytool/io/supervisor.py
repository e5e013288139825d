"""`copytool copy --workers N`: starts the workers, starts again the one that dies, and speaks for all of them.

It has no part in the mirroring: a worker captures, sends and keeps its link by itself, and the workers share nothing.
So waiting for their answers here holds nobody up.
"""

from __future__ import annotations

import contextlib
import logging
import selectors
import time
from dataclasses import replace
from typing import Any

from ..errors import ConfigError, CopytoolError, HostError
from .capabilities import held
from .control import ControlServer
from .copy_daemon import CopyDaemon
from .fleet_steering import FleetSteering
from .gather import ask_all
from .log_level import set_log_level
from .loop import EventLoop
from .memory import resident_bytes
from .neighbours import NeighbourKeeper
from .session_log import read_count
from .settings import CopySettings
from .shares import split_settings
from .totals import add_up, merge_sessions
from .worker import Worker, WorkerFailed

__all__ = ["Supervisor"]

_log = logging.getLogger(__name__)

_START_S = 20.0
_ANSWER_S = 1.0
_END_S = 5.0
_RESTART_S = 1.0


class Supervisor:
    """What `copytool copy` runs instead of a CopyDaemon when there are several workers.

    capabilities: what it has to keep, for the workers that it starts again.
    """

    capabilities = CopyDaemon.capabilities

    def __init__(self, settings: CopySettings, keeper: NeighbourKeeper, loop: EventLoop) -> None:
        """Start the workers; raises HostError or ConfigError with the reason if one cannot start."""
        self._loop = loop
        self._settings = settings
        self._keeper = keeper
        self._posts = [_Post(share) for share in split_settings(_without_own_memory(settings))]
        self._steering = FleetSteering(settings.mirror, self._ask_those_ready, loop.now)
        commands = {
            "status": lambda _request: self.status(),
            "sessions": self._sessions,
            "log-level": self._set_log_level,
            "probe": self._probe,
            "probe-result": self._probe,
            **self._steering.commands(),
        }
        self._control = ControlServer(loop, settings.control_socket, commands)
        try:
            for post in self._posts:
                post.worker = Worker(post.settings, keeper)
            for post in self._posts:
                assert post.worker is not None
                post.worker.wait_ready(_START_S)
        except BaseException:
            self.shut_down()
            raise
        for post in self._posts:
            self._watch(post)
        loop.services.append(self)

    # -- the loop calls these -------------------------------------------------------------------------------

    def next_timer(self) -> float:
        """Return when handle_timer wants to be called."""
        return min(post.start_at for post in self._posts)

    def handle_timer(self, now: float) -> None:
        """Start workers again."""
        for post in self._posts:
            if post.start_at <= now:
                post.start_at = now + _RESTART_S  # if there cannot be another process now
                mirror = self._steering.settings(post.settings.mirror)
                post.worker = Worker(replace(post.settings, mirror=mirror), self._keeper)
                post.start_at = float("inf")
                post.restarts += 1
                self._watch(post)

    def _watch(self, post: _Post) -> None:
        assert post.worker is not None
        post.worker.channel.setblocking(False)
        self._loop.watch(post.worker.channel, selectors.EVENT_READ, lambda _events: self._on_report(post))

    def _on_report(self, post: _Post) -> None:
        """A worker that was started again says that it is ready, or one is gone."""
        worker = post.worker
        assert worker is not None
        try:
            worker.read_report()
        except EOFError:
            reason = ""
        except (WorkerFailed, CopytoolError, OSError, ValueError) as error:
            reason = str(error)
        else:
            post.reason = ""
            self._bring_in_line(worker)
            _log.info("worker %d runs again, as pid %d", worker.number, worker.pid)
            return
        self._loop.unwatch(worker.channel)
        how = worker.reap()
        if reason != post.reason or not reason:
            _log.error("worker %d (pid %d) %s; starting it again", worker.number, worker.pid, reason or how)
        post.reason = reason or how
        post.start_at = self._loop.now() + _RESTART_S
        worker.close()
        post.worker = None

    def _bring_in_line(self, worker: Worker) -> None:
        """Have a worker that was started again do what was asked for while it was being started."""
        for request in self._steering.requests():
            answer = ask_all({worker.number: worker.control_socket}, request, _ANSWER_S).get(worker.number)
            if answer is None or "error" in answer:
                why = "no answer" if answer is None else answer["error"]
                _log.error("worker %d did not %s: %s", worker.number, request["command"], why)

    # -- from outside ---------------------------------------------------------------------------------------

    def shut_down(self) -> None:
        """End the workers, which end their sessions; kill those that do not obey."""
        workers = [post.worker for post in self._posts if post.worker is not None]
        for worker in workers:
            self._loop.unwatch(worker.channel)
            worker.ask_to_end()
        deadline = self._loop.now() + _END_S
        for worker in workers:
            how = worker.reap(max(deadline - self._loop.now(), 0.0))
            if worker.ready and how != "ended with status 0":
                _log.warning("worker %d (pid %d) %s", worker.number, worker.pid, how)
            worker.close()
            with contextlib.suppress(OSError):
                worker.control_socket.unlink()  # of one that was killed
        self._control.close()
        self._keeper.close()

    def status(self) -> dict[str, Any]:
        """Return the sum of what the workers count, and what is known of each, as JSON-able data."""
        answers = self._ask({"command": "status"})
        total = add_up(self._settings, self._steering.status(), answers)
        total["internal_errors"] += self._loop.failures
        total["cpu_s"] = round(total["cpu_s"] + time.process_time(), 3)
        total["capabilities"] = held()
        total["budgets"]["memory"]["used"] += resident_bytes()
        total["workers"] = [post.status(answers.get(post.number)) for post in self._posts]
        return total

    def _sessions(self, request: dict[str, Any]) -> dict[str, Any]:
        count = read_count(request)
        answers = self._ask(request)
        for answer in answers.values():
            if "error" in answer:
                raise ConfigError(answer["error"])
        silent = [post.number for post in self._posts if post.number not in answers]
        merged = merge_sessions(answers, count)
        return {**merged, "silent_workers": silent}

    def _set_log_level(self, request: dict[str, Any]) -> dict[str, Any]:
        answer = set_log_level(request)
        return {**answer, "workers": sorted(self._ask(request))}

    def _probe(self, request: dict[str, Any]) -> dict[str, Any]:
        """Have one worker do it, the same each time while it runs."""
        for post in self._posts:
            if post.worker is not None and post.worker.ready:
                answer = ask_all({post.number: post.worker.control_socket}, request, _ANSWER_S).get(post.number)
                if answer is not None and "error" in answer:
                    raise ConfigError(answer["error"])
                if answer is not None:
                    return answer
        raise HostError("no worker answers")

    def _ask(self, request: dict[str, Any]) -> dict[int, dict[str, Any]]:
        """Return the answers of the workers that run and answer."""
        return self._ask_those_ready(request)[0]

    def _ask_those_ready(self, request: dict[str, Any]) -> tuple[dict[int, dict[str, Any]], list[int]]:
        """Return the workers' answers, and who runs and does not answer."""
        workers = [post.worker for post in self._posts if post.worker is not None]
        paths = {worker.number: worker.control_socket for worker in workers if worker.ready}
        answers = ask_all(paths, request, _ANSWER_S)
        return answers, [number for number in paths if number not in answers]


def _without_own_memory(settings: CopySettings) -> CopySettings:
    """Return the settings with what this process leaves of the memory limit."""
    limit = settings.budgets.memory_bytes
    if limit is None:
        return settings
    return replace(settings, budgets=replace(settings.budgets, memory_bytes=max(limit - resident_bytes(), 0)))


class _Post:
    """The place of one worker.

    worker: the process, None while there is none. start_at: when it is to be started again. reason: why the last one
    is no more. restarts: how many were started after the first.
    """

    def __init__(self, settings: CopySettings) -> None:
        self.settings = settings
        self.number = settings.worker + 1
        self.worker: Worker | None = None
        self.start_at = float("inf")
        self.reason = ""
        self.restarts = 0

    def status(self, answer: dict[str, Any] | None) -> dict[str, Any]:
        """Return the worker's line in `copytool status --json`, from its own status document if it gave one."""
        pid = self.worker.pid if self.worker is not None else 0
        line = {"worker": self.number, "pid": pid, "restarts": self.restarts}
        if answer is None or "error" in answer:
            return {**line, "state": (answer or {}).get("error") or self._problem()}
        return {
            **line,
            "state": "running",
            "sessions": answer["sessions"]["seen"],
            "active": answer["sessions"]["outcomes"]["active"],
            "packets": answer["capture"]["packets"],
            "drops": answer["capture"]["drops"],
            "cpu_s": answer["cpu_s"],
            "admitted_percent": answer["steering"]["admitted_percent"],
            "client_networks": [str(network) for network in self.settings.client_networks],
            "link": answer["link"],
            "imbalance": answer["imbalance"],
        }

    def _problem(self) -> str:
        if self.worker is not None and self.worker.ready:
            return f"no answer within {_ANSWER_S:g} s"
        return f"is being started again: {self.reason}"
