"""The control commands `probe` and `probe-result`: a running copy sends a probe, and says how it stands.

A command may not wait, so there are two: whoever asks for a probe asks for its result until that is there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..errors import ConfigError, HostError
from ..mirror.emitter import Outgoing
from ..wire.flow import FlowKey
from .control import Command
from .nexthop import NextHopTable
from .output import PacketOutput
from .probe import Probe, flow_for_probe
from .settings import CopySettings

__all__ = ["Probing", "flows_for_probe", "sender_for_probe"]

_NEVER = float("inf")


class Probing:
    """Sends the probes of one copy, one at a time. A service of the loop."""

    def __init__(
        self,
        settings: CopySettings,
        output: PacketOutput,
        next_hops: NextHopTable,
        is_taken: Callable[[FlowKey], bool],
    ) -> None:
        self._settings = settings
        self._send = sender_for_probe(output, next_hops)
        self._is_taken = is_taken
        self._probe: Probe | None = None

    def commands(self, clock: Callable[[], float], has_link: Callable[[], bool]) -> dict[str, Command]:
        """Return the control commands by name."""
        return {
            "probe": lambda _request: self._start(clock(), has_link()),
            "probe-result": lambda _request: self._result(),
        }

    def _start(self, now: float, has_link: bool) -> dict[str, Any]:
        if self._settings.mirror.dry_run:
            raise ConfigError("this copy runs with --dry-run and sends nothing")
        if not has_link:
            raise HostError("no link is established, so no answer could be seen")
        if self._probe is None or self._probe.done:
            self._probe = Probe(flows_for_probe(self._settings, self._is_taken), self._send, now)
        return self._result()

    def _result(self) -> dict[str, Any]:
        if self._probe is None:
            raise ConfigError("there was no probe")
        return {"done": self._probe.done, "attempts": self._probe.to_json()}

    def receive(self, bodies: list[bytes], now: float) -> None:
        """Look at what a link reports, while there is a probe."""
        if self._probe is not None and not self._probe.done:
            self._probe.receive(bodies, now)

    def next_timer(self) -> float:
        """Return when handle_timer wants to be called."""
        return self._probe.next_timer() if self._probe is not None else _NEVER

    def handle_timer(self, now: float) -> None:
        """Send what is due."""
        if self._probe is not None:
            self._probe.handle_timer(now)

    def shut_down(self, now: float) -> None:
        """Reset what a probe has not yet."""
        if self._probe is not None:
            self._probe.cancel(now)


def flows_for_probe(settings: CopySettings, is_taken: Callable[[FlowKey], bool]) -> list[FlowKey]:
    """Return a flow to each target; raises ConfigError if the client network has none."""
    if not settings.client_ranges:
        raise ConfigError("with --keep-client-addresses there is no address to probe from")
    flows = []
    for address, port in sorted(set(settings.targets.values())):
        flow = flow_for_probe(settings.client_ranges, address, port, is_taken)
        if flow is None:
            raise ConfigError("no port of the client network is free for a probe")
        flows.append(flow)
    return flows


def sender_for_probe(output: PacketOutput, next_hops: NextHopTable) -> Callable[[list[Outgoing], float], str]:
    """Return what sends packets and says why it could not, "" if it could."""

    def send(packets: list[Outgoing], now: float) -> str:
        before = output.errors.copy()
        output.send(packets, now)
        failed = output.errors - before
        if not failed:
            return ""
        problems = "; ".join(next_hops.problems.values())
        return problems or f"sending fails: {', '.join(failed)}"

    return send
