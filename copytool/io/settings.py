"""What a daemon is started with; the command line and the configuration file both end up here."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ..link.share import Network
from ..mirror.config import MirrorConfig
from ..mirror.targets import Service, TargetMap

__all__ = [
    "DEFAULT_FEED_PORT",
    "DEFAULT_LINK_PORT",
    "FEEDS",
    "VXLAN_PORT",
    "BudgetLimits",
    "CopySettings",
    "Feed",
    "ForwardSettings",
    "InterceptSettings",
    "TlsFiles",
]

DEFAULT_LINK_PORT = 36524
DEFAULT_FEED_PORT = 36525
VXLAN_PORT = 4789  # RFC 7348, section 5

FEEDS = ("own", "span", "tunnel", "forward")
"""Where a copy's packets come from: see the option --feed."""


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files: the daemon's certificate, its private key, and the authorities whose certificates it accepts."""

    certificate: Path
    key: Path
    authority: Path


@dataclass(frozen=True, slots=True)
class BudgetLimits:
    """What copy may use, beside the number of sessions; None is no limit."""

    cpu_percent: float | None = None
    """Processor time, in per cent of one CPU."""

    memory_bytes: int | None = None
    """Resident memory."""

    bandwidth_bits: int | None = None
    """Bits a second of the IP packets to all targets together."""

    def any_measured(self) -> bool:
        """Return whether there is a limit."""
        return any(limit is not None for limit in (self.cpu_percent, self.memory_bytes, self.bandwidth_bits))


@dataclass(frozen=True, slots=True)
class Feed:
    """Where captured packets come from."""

    kind: str = "own"
    """One of FEEDS."""

    vxlan_port: int = VXLAN_PORT
    """UDP port of VXLAN."""

    listen: tuple[str, int] = ("0.0.0.0", DEFAULT_FEED_PORT)
    """Where `copytool forward` connects to."""

    forwarders: list[str] | None = None
    """Common names of the certificates that it may have; None: any."""

    @property
    def is_own(self) -> bool:
        """Whether the online host is this one, whose kernel knows the connections."""
        return self.kind == "own"


@dataclass(frozen=True, slots=True)
class CopySettings:
    """Settings of `copytool copy`."""

    targets: TargetMap
    """Which services are mirrored, and to where."""

    intercepts: list[tuple[str, int]]
    """Address and port of each intercept."""

    client_networks: list[Network]
    """Networks announced to intercept; responses to them belong to this copy."""

    client_ranges: list[tuple[bytes, int]]
    """Usable addresses in them as (first packed address, count); empty keeps the clients' addresses."""

    control_socket: Path
    """Where `copytool status` asks."""

    interfaces: list[str] = field(default_factory=lambda: [""])
    """Interfaces to capture on; "" means all of them."""

    allow_local_target: bool = False
    """Whether a target may be on this host, on a port that is not mirrored."""

    clients: list[Network] = field(default_factory=list)
    """Networks whose clients are mirrored; empty means all clients."""

    mirror: MirrorConfig = field(default_factory=MirrorConfig)
    """Limits and timing of the engine."""

    tls: TlsFiles | None = None
    """What the link is encrypted with; None: it is not."""

    budgets: BudgetLimits = field(default_factory=BudgetLimits)
    """What copy may use."""

    ring_bytes: int = 64 * 1024 * 1024
    """Size of each interface's capture ring."""

    feed: Feed = field(default_factory=Feed)
    """Where the packets come from."""

    workers: int = 1
    """Processes that share the work."""

    worker: int = 0
    """Which of them this is, from 0; client_networks and client_ranges are its part."""

    all_client_ranges: list[tuple[bytes, int]] | None = None
    """The usable addresses of all workers together; None: client_ranges are all."""


@dataclass(frozen=True, slots=True)
class InterceptSettings:
    """Settings of `copytool intercept`."""

    interfaces: list[str]
    """Interfaces to capture responses on; "" means all of them."""

    filter: str
    """libpcap filter that selects the responses."""

    control_socket: Path
    """Where `copytool status` asks."""

    bind: str = "0.0.0.0"
    """Address to listen on for copies."""

    port: int = DEFAULT_LINK_PORT
    """TCP port to listen on for copies."""

    tls: TlsFiles | None = None
    """What the link is encrypted with; None: it is not."""

    peers: dict[str, list[Network]] | None = None
    """Client networks that each copy may claim, by its certificate's common name; None: any that nobody has."""


@dataclass(frozen=True, slots=True)
class ForwardSettings:
    """Settings of `copytool forward`."""

    services: list[Service]
    """What is captured."""

    copy: tuple[str, int]
    """Address and port of the copy that mirrors it."""

    control_socket: Path
    """Where `copytool status` asks."""

    interfaces: list[str] = field(default_factory=lambda: [""])
    """Interfaces to capture on; "" means all of them."""

    ratio_percent: float = 100.0
    """Share of the connections whose data is sent."""

    clients: list[Network] = field(default_factory=list)
    """Networks whose clients' data is sent; empty means all clients."""

    buffer_bytes: int = 16 * 1024 * 1024
    """How much may wait for the link."""

    ring_bytes: int = 64 * 1024 * 1024
    """Size of each interface's capture ring."""

    tls: TlsFiles | None = None
    """What the link is encrypted with; None: it is not."""
