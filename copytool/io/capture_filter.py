"""Which packets the kernel hands to a copy: what clients send to the mirrored services, as far as anybody wants it.

Of connections that are not mirrored by choice (--ratio, --clients) only what carries no data comes up: the engine
counts a connection when its handshake completes, and the packet that shows it is a pure acknowledgement, which no
filter without memory can tell from others. SYNs and RSTs come up with data, too (TCP Fast Open, texts that say why).
"""

from __future__ import annotations

from ..mirror.mapping import Sampler
from ..mirror.targets import TargetMap
from ..wire.address import format_address
from .bpf import can_attach, compile_filter
from .filter_logic import all_of, any_of
from .flow_filters import in_part, in_sample
from .settings import CopySettings

__all__ = ["MAX_NETWORKS", "capture_code", "capture_filter"]

MAX_NETWORKS = 256
"""Networks in --clients that the kernel checks; libpcap takes seconds to compile thousands."""

_SNAP_BYTES = 0x40000
_MAX_HASH = 0xFFFFFFFF
_CONTROL = (
    "ip[2:2] - ((ip[0] & 0xf) << 2) - ((tcp[12] & 0xf0) >> 2) = 0 or tcp[13] & 6 != 0"
    " or ip6[4:2] - ((ip6[52] & 0xf0) >> 2) = 0 or ip6[53] & 6 != 0"
)
"""No payload, or SYN or RST."""


def capture_filter(targets: TargetMap) -> str:
    """Return the libpcap expression for what clients send to the mirrored services.

    Pure acknowledgements pass, too: the handshake's third packet, which is one, says where the server's stream
    begins, and without that a greeting could not be told from an answer.
    """
    terms = []
    for address, port in sorted(targets, key=lambda item: (item[0] or b"", item[1])):
        term = f"dst port {port}"
        if address is not None:
            term = f"(dst host {format_address(address)} and {term})"
        terms.append(term)
    return f"tcp and ({' or '.join(terms)})"


def capture_code(settings: CopySettings) -> bytes:
    """Return the program for the capture rings of the copy, or worker, with these settings."""
    code = compile_filter(capture_filter(settings.targets), _SNAP_BYTES)
    if settings.workers > 1:
        code = all_of(code, in_part(settings.worker, settings.workers))
    chosen = []
    threshold = Sampler(settings.mirror.ratio_percent).threshold
    if threshold <= _MAX_HASH:
        chosen.append(in_sample(threshold))
    if 0 < len(settings.clients) <= MAX_NETWORKS:
        clients = compile_filter(" or ".join(f"src net {network}" for network in settings.clients), _SNAP_BYTES)
        narrow = _without_data_of_others(code, [clients, *chosen])
        if can_attach(narrow):
            return narrow
    return _without_data_of_others(code, chosen)


def _without_data_of_others(code: bytes, chosen: list[bytes]) -> bytes:
    """Return `code` without the data of connections that one of the programs `chosen` does not pass."""
    if not chosen:
        return code
    return all_of(code, any_of(compile_filter(_CONTROL, _SNAP_BYTES), all_of(*chosen)))
