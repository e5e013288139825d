"""The options of each command, as data: the command line, the configuration file and the help come from here."""

from __future__ import annotations

from ..errors import ConfigError
from ..io.settings import DEFAULT_LINK_PORT
from ..io.steering_requests import MAX_COPIES
from ..mirror.config import MirrorConfig
from . import values
from .feed_options import FEED_OPTIONS, FORWARD_OPTIONS
from .option import COMMON, INTERFACE, LINK, LOG_LEVEL, PORT, Option, parse_path

__all__ = ["CHECK_OPTIONS", "COPY_OPTIONS", "EXPORTER_OPTIONS", "INTERCEPT_OPTIONS"]

_DEFAULTS = MirrorConfig()
_MIB = 1 << 20


def _filter(text: str) -> str:
    if not text.strip():
        raise ConfigError("the filter is empty; give a libpcap expression, like 'tcp and src port 1025'")
    if "\0" in text:
        raise ConfigError(f"{text!r} is no filter: there is a zero octet in it")
    return text


COPY_OPTIONS = (
    Option(
        "map",
        "what is mirrored to where: [online-ip:]port-target-ip:port; without online-ip any address of this host",
        "x",
        "MAP,...",
        values.parse_map,
        is_list=True,
    ),
    Option(
        "intercept",
        "the intercepts that report the target's responses",
        "s",
        "HOST[:PORT],...",
        values.parse_endpoints,
        is_list=True,
    ),
    Option(
        "client-network",
        "addresses that mirrored sessions come from: 192.168.60.x, a CIDR network, an address, or a list. "
        "They exist nowhere, and the target routes them to the assistant host",
        "c",
        "NET,...",
        values.parse_client_networks,
        is_list=True,
    ),
    Option(
        "keep-client-addresses", "mirror from the clients' own addresses. Only with a target that cannot reach them"
    ),
    Option(
        "ratio",
        "per cent of client connections to mirror, chosen by a hash of client address and port",
        "r",
        "PERCENT",
        values.number(0, 100, above=True),
        100.0,
    ),
    Option(
        "clients",
        "mirror only clients in these networks: CIDR networks or addresses",
        metavar="NET,...",
        parse=values.parse_networks,
        is_list=True,
    ),
    Option(
        "upstreams",
        "what the service itself uses in production, as CIDR networks or addresses: no target may be among them",
        metavar="NET,...",
        parse=values.parse_networks,
        is_list=True,
    ),
    Option(
        "allow-local-target",
        "a target may be on this host, on a port that is not mirrored; the test copy then uses production's CPU",
    ),
    Option("dry-run", "send nothing, neither to targets nor to intercepts; count what would have been mirrored"),
    Option("copies", "mirror sessions per client connection", "n", "N", values.integer(1, MAX_COPIES), 1),
    Option(
        "only-new", "mirror only connections whose SYN was captured; the default, the contrary of --join-midstream", "O"
    ),
    Option(
        "join-midstream",
        "join connections that were open before copy started, where a request begins as far as TCP shows it",
    ),
    INTERFACE,
    Option("port", "port of an intercept that -s gives without one", "p", "PORT", PORT, DEFAULT_LINK_PORT),
    Option(
        "hold-limit",
        "seconds to wait for a response of the target before the next request goes out without it",
        metavar="S",
        parse=values.number(0.01, 3600),
        default=_DEFAULTS.hold_limit_s,
    ),
    Option(
        "quiet-limit",
        "longest silence, in seconds, that is waited for to see whether a response of another length is complete",
        metavar="S",
        parse=values.number(0.01, 60),
        default=_DEFAULTS.quiet_max_s,
    ),
    Option(
        "gap-timeout",
        "seconds after which bytes missing from the capture end a session",
        metavar="S",
        parse=values.number(0.1, 3600),
        default=_DEFAULTS.gap_timeout_s,
    ),
    Option(
        "idle-timeout",
        "seconds of silence after which a session is given up",
        metavar="S",
        parse=values.number(1, 1e6),
        default=_DEFAULTS.idle_timeout_s,
    ),
    Option(
        "close-timeout",
        "seconds that a session whose client has closed waits for the target to close or to say something; it goes on"
        " waiting while the connection exists at the online host",
        metavar="S",
        parse=values.number(0.1, 86400),
        default=_DEFAULTS.close_timeout_s,
    ),
    Option(
        "check-after",
        "seconds of a client's silence after which the kernel is asked whether its connection still exists",
        metavar="S",
        parse=values.number(1, 86400),
        default=_DEFAULTS.check_after_s,
    ),
    Option(
        "syn-retries",
        "SYNs sent again before the target counts as unreachable",
        metavar="N",
        parse=values.integer(0, 30),
        default=_DEFAULTS.syn_retries,
    ),
    Option(
        "data-retries",
        "times a segment is sent again before the target counts as stalled",
        metavar="N",
        parse=values.integer(1, 30),
        default=_DEFAULTS.data_retries,
    ),
    Option(
        "mtu",
        "largest IP packet to a target, in bytes; the route's MTU and what is learnt of the path may lower it",
        "M",
        "BYTES",
        values.integer(576, 65535),
        _DEFAULTS.mtu_bytes,
    ),
    Option(
        "max-sessions",
        "mirror sessions at a time; further ones are not mirrored",
        metavar="N",
        parse=values.integer(1, 10_000_000),
        default=_DEFAULTS.max_sessions,
    ),
    Option(
        "cpu-limit",
        "per cent of one CPU that copy may use, all workers together; over it fewer connections are mirrored, and after"
        " a second the oldest sessions end",
        metavar="PERCENT",
        parse=values.number(0, 100_000, above=True),
    ),
    Option(
        "memory-limit",
        "MiB of memory that copy may have resident, capture rings and all workers together; buffers become smaller to"
        " fit, and sessions are shed",
        metavar="MIB",
        parse=values.integer(1, 1_048_576),
    ),
    Option(
        "bandwidth-limit",
        "Mbit/s that copy may send to all targets together, counted in IP packets; shed like for --cpu-limit",
        metavar="MBIT",
        parse=values.number(0.01, 1_000_000),
    ),
    Option(
        "session-buffer",
        "MiB of client data held for one session",
        metavar="MIB",
        parse=values.integer(1, 65536),
        default=_DEFAULTS.session_buffer_bytes // _MIB,
    ),
    Option(
        "total-buffer",
        "MiB of client data held for all sessions",
        metavar="MIB",
        parse=values.integer(1, 1_048_576),
        default=_DEFAULTS.total_buffer_bytes // _MIB,
    ),
    Option(
        "ring-size",
        "MiB of capture ring per interface; each lets copy be kept from running for 8 ms without loss",
        metavar="MIB",
        parse=values.integer(1, 4096),
        default=64,
    ),
    Option(
        "workers",
        "processes that share the connections, the client network, ring, buffer and session limits among them; auto for"
        " as many as there are CPUs",
        metavar="N",
        parse=values.parse_workers,
        default=1,
    ),
    *FEED_OPTIONS,
    *LINK,
    *COMMON,
)

INTERCEPT_OPTIONS = (
    Option(
        "interface",
        "capture responses on these interfaces; any for all",
        "i",
        "IFACE,...",
        values.parse_interfaces,
        is_list=True,
    ),
    Option("filter", "libpcap expression that selects the target's responses", "F", "EXPR", _filter),
    Option("port", "TCP port to listen on for copies", "p", "PORT", PORT, DEFAULT_LINK_PORT),
    Option("bind", "address to listen on for copies", "b", "ADDR", values.parse_bind, [("0.0.0.0", 0)]),
    *LINK,
    Option(
        "peers",
        "client networks that each copy may have, by the common name of its certificate; without it any copy may have"
        " any that no other one has",
        metavar="NAME=NET,...",
        parse=values.parse_peers,
        is_list=True,
    ),
    *COMMON,
)

CHECK_OPTIONS = {
    "copy": COPY_OPTIONS,
    "intercept": (*INTERCEPT_OPTIONS, next(option for option in COPY_OPTIONS if option.long == "client-network")),
    "target": COPY_OPTIONS,
    "forward": FORWARD_OPTIONS,
}
"""The options of `copytool check ROLE`: those of the daemon, of copy for the target."""

EXPORTER_OPTIONS = (
    Option(
        "listen",
        "address and port to serve metrics on",
        metavar="ADDR:PORT",
        parse=values.parse_listen,
        default=("127.0.0.1", 9524),
    ),
    Option("allow-public", "also if --listen can be reached from anywhere"),
    Option("copy-socket", "control socket of copy, if it is not the default one", metavar="PATH", parse=parse_path),
    Option("intercept-socket", "control socket of intercept, likewise", metavar="PATH", parse=parse_path),
    Option("forward-socket", "control socket of forward, likewise", metavar="PATH", parse=parse_path),
    Option("log-file", "log file; without it the exporter logs to stderr", "l", "PATH", parse_path),
    LOG_LEVEL,
)
