"""What copy would do, done for some seconds while it does not run: connect to the intercepts, and send a probe.

And of forward the same without a probe, which it never sends.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from ... import __version__
from ...errors import CopytoolError
from ...link.connection import CopyEnd
from ...link.share import Share
from ..forward_daemon import forward_end
from ..link_client import LinkClient
from ..loop import EventLoop
from ..neighbours import NeighbourKeeper
from ..nexthop import NextHopTable
from ..output import PacketOutput
from ..probe import Probe
from ..probing import flows_for_probe, sender_for_probe
from ..settings import CopySettings, ForwardSettings
from ..shares import split_settings
from ..tls import TlsIdentity

__all__ = ["Rehearsal", "rehearse", "rehearse_link"]

_LINK_S = 6.5  # longer than either end waits for a greeting
_SETTLE_S = 1.5
_POLL_S = 0.02
_NEVER = float("inf")


@dataclass(slots=True)
class Rehearsal:
    """How far it came. links: as in a status document. attempts: as in a probe's result; empty if none was sent."""

    links: list[dict[str, Any]] = field(default_factory=list)
    attempts: list[dict[str, Any]] = field(default_factory=list)
    problem: str = ""
    """Why no probe was sent."""


def rehearse(settings: CopySettings, keeper: NeighbourKeeper, with_probe: bool) -> Rehearsal:
    """Connect, send a probe if that is wanted, and close everything.

    With several workers it takes the part of the first: intercept knows what each of them may have left open at the
    target, and forgets it when somebody claims another part of the client network.
    """
    if settings.workers > 1:
        settings = split_settings(settings)[0]
    loop = EventLoop()
    stage = _Stage(settings, keeper, loop, with_probe)
    try:
        loop.services.append(stage)
        loop.run()
        if stage.failure is not None:
            raise stage.failure
    finally:
        stage.close()
        loop.close()
    return stage.result


class _Stage:
    """A service of the loop that ends it when there is nothing more to see."""

    def __init__(self, settings: CopySettings, keeper: NeighbourKeeper, loop: EventLoop, with_probe: bool) -> None:
        now = loop.now()
        self.result = Rehearsal()
        self.failure: Exception | None = None
        self._settings = settings
        self._loop = loop
        self._probe: Probe | None = None
        self._with_probe = with_probe
        targets = sorted(set(settings.targets.values()))
        addresses = sorted({address for address, _ in targets})
        self._next_hops = NextHopTable(addresses, keeper, lambda _table: None, now, settings.allow_local_target)
        self._output = PacketOutput(self._next_hops)
        share = Share(settings.client_networks, targets)
        identity = TlsIdentity(settings.tls, is_server=False) if settings.tls else None
        make_end = partial(CopyEnd, share, __version__)
        self._links = [
            LinkClient(loop, address, "intercept", make_end, self._on_records, lambda: None, identity)
            for address in settings.intercepts
        ]
        loop.services += [self._next_hops, *self._links]
        self._settled_at = now + _SETTLE_S
        self._give_up_at = now + _LINK_S
        self._due_at = now

    def _on_records(self, bodies: list[bytes]) -> None:
        if self._probe is not None:
            self._probe.receive(bodies, self._loop.now())

    def next_timer(self) -> float:
        """Return when handle_timer wants to be called."""
        return min(self._due_at, self._probe.next_timer() if self._probe is not None else _NEVER)

    def handle_timer(self, now: float) -> None:
        """Go on from the links to the probe, and from there to the end; whatever goes wrong, to the end."""
        self._due_at = now + _POLL_S
        try:
            self._go_on(now)
        except CopytoolError as error:
            self.result.problem = str(error)
            self._loop.stop()
        except Exception as error:  # the loop would call again and again
            self.failure = error
            self._loop.stop()

    def _go_on(self, now: float) -> None:
        if self._probe is None:
            self._begin(now)
            return
        self._probe.handle_timer(now)
        if self._probe.done:
            self.result.attempts = self._probe.to_json()
            self._loop.stop()

    def _begin(self, now: float) -> None:
        states = [link.state for link in self._links]
        if not all(map(_was_tried, self._links)) and now < self._give_up_at:
            return
        if self._next_hops.problems and now < self._settled_at:
            return
        self.result.links = [link.status() for link in self._links]
        if not self._with_probe or "established" not in states:
            self.result.problem = "" if not self._with_probe else "no link is established, so no answer could be seen"
            self._loop.stop()
            return
        flows = flows_for_probe(self._settings, lambda _flow: False)
        self._probe = Probe(flows, sender_for_probe(self._output, self._next_hops), now)
        self._probe.handle_timer(now)

    def close(self) -> None:
        """Release everything."""
        if self._probe is not None:
            with suppress(CopytoolError):  # why nothing can be sent has been said
                self._probe.cancel(self._loop.now())
        for link in self._links:
            link.close()
        self._output.close()
        self._next_hops.close()


def _was_tried(link: LinkClient) -> bool:
    """Return whether a link is established, or has failed to be."""
    return link.state == "established" or link.reason != "not tried yet"


def rehearse_link(settings: ForwardSettings) -> dict[str, Any]:
    """Connect to copy for a moment; return the link as a status document has it."""
    loop = EventLoop()
    identity = TlsIdentity(settings.tls, is_server=False) if settings.tls else None
    link = LinkClient(
        loop, settings.copy, "copy", partial(forward_end, settings), lambda _bodies: None, lambda: None, identity
    )
    limit = _Limit(loop, link)
    loop.services += [link, limit]
    try:
        loop.run()
        return link.status()
    finally:
        link.close()
        loop.close()


class _Limit:
    """Stops the loop when a link's first attempt is over, or takes too long."""

    def __init__(self, loop: EventLoop, link: LinkClient) -> None:
        self._loop = loop
        self._link = link
        self._look_at = loop.now()
        self._deadline = loop.now() + _LINK_S

    def next_timer(self) -> float:
        """Return when handle_timer wants to be called."""
        return self._look_at

    def handle_timer(self, now: float) -> None:
        """Look."""
        self._look_at = now + _POLL_S
        if _was_tried(self._link) or now >= self._deadline:
            self._loop.stop()
