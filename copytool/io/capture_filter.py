"""Which packets the kernel hands to a copy: what clients send to the mirrored services, as far as anybody wants it.

Of connections that are not mirrored by choice (--ratio, --clients) only what carries no data comes up: the engine
counts a connection when its handshake completes, and the packet that shows it is a pure acknowledgement, which no
filter without memory can tell from others. SYNs and RSTs come up with data, too (TCP Fast Open, texts that say why).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..link.share import Network
from ..mirror.mapping import Sampler
from ..mirror.targets import Service
from ..wire.address import format_address
from .bpf import can_attach, compile_filter
from .filter_logic import all_of, any_of
from .flow_filters import in_part, in_sample

__all__ = ["MAX_NETWORKS", "CaptureFilter", "TunnelFilter", "capture_filter"]

MAX_NETWORKS = 256
"""Networks in --clients that the kernel checks; libpcap takes seconds to compile thousands."""

_SNAP_BYTES = 0x40000
_MAX_HASH = 0xFFFFFFFF
_CONTROL = (
    "ip[2:2] - ((ip[0] & 0xf) << 2) - ((tcp[12] & 0xf0) >> 2) = 0 or tcp[13] & 6 != 0"
    " or ip6[4:2] - ((ip6[52] & 0xf0) >> 2) = 0 or ip6[53] & 6 != 0"
)
"""No payload, or SYN or RST."""
_FRAGMENT = "(ip[9] = 6 and ip[6:2] & 0x1fff != 0) or (ip6[6] = 44 and ip6[40] = 6)"
"""Any fragment over IPv6, all but the first over IPv4."""


def capture_filter(services: Iterable[Service]) -> str:
    """Return the libpcap expression for what clients send to the mirrored services.

    Pure acknowledgements pass, too: the handshake's third packet, which is one, says where the server's stream
    begins, and without that a greeting could not be told from an answer. So do fragments of TCP, to be counted: all but
    the first have no ports, and whose data is in them shows as a hole.
    """
    terms = []
    for address, port in sorted(services, key=lambda item: (item[0] or b"", item[1])):
        term = f"dst port {port}"
        if address is not None:
            term = f"(dst host {format_address(address)} and {term})"
        terms.append(term)
    return f"tcp and ({' or '.join(terms)}) or {_FRAGMENT}"


class CaptureFilter:
    """The programs for the capture rings of a copy, or of one of its workers, or of forward.

    libpcap compiles once: what differs with the ratio is put together without it.
    widest: passes all that goes to the services, as far as it is this worker's.
    """

    def __init__(
        self, services: Iterable[Service], clients: Sequence[Network], worker: int = 0, workers: int = 1
    ) -> None:
        self.widest = compile_filter(capture_filter(services), _SNAP_BYTES)
        if workers > 1:
            self.widest = all_of(self.widest, in_part(worker, workers))
        self._control = compile_filter(_CONTROL, _SNAP_BYTES)
        self._clients: bytes = b""
        if 0 < len(clients) <= MAX_NETWORKS:
            text = " or ".join(f"src net {network}" for network in clients)
            self._clients = compile_filter(text, _SNAP_BYTES)

    def code(self, ratio_percent: float) -> bytes:
        """Return the program that shows the data of a share of the connections."""
        threshold = Sampler(ratio_percent).threshold
        chosen = [in_sample(threshold)] if threshold <= _MAX_HASH else []
        if self._clients:
            narrow = self._without_data_of_others([self._clients, *chosen])
            if can_attach(narrow):
                return narrow
        return self._without_data_of_others(chosen)

    def _without_data_of_others(self, chosen: list[bytes]) -> bytes:
        """Return the program without the data of connections that one of the programs `chosen` does not pass."""
        if not chosen:
            return self.widest
        return all_of(self.widest, any_of(self._control, all_of(*chosen)))


class TunnelFilter:
    """The one program for a ring that tunnels end at: what is inside is for the engine to choose from.

    widest: that program.
    """

    def __init__(self, vxlan_port: int) -> None:
        self.widest = compile_filter(f"udp dst port {vxlan_port} or ip proto 47 or ip6 proto 47", _SNAP_BYTES)

    def code(self, _ratio_percent: float) -> bytes:
        """Return it."""
        return self.widest
