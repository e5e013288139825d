"""Options about where captured packets come from, and those of `copytool forward`."""

from __future__ import annotations

from ..errors import ConfigError
from ..io.settings import DEFAULT_FEED_PORT, FEEDS, VXLAN_PORT
from . import values
from .option import COMMON, INTERFACE, LINK, PORT, Option

__all__ = ["FEED_OPTIONS", "FORWARD_OPTIONS"]


def _feed(text: str) -> str:
    if text not in FEEDS:
        raise ConfigError(f"{text!r} is not {', '.join(FEEDS[:-1])} or {FEEDS[-1]}")
    return text


FEED_OPTIONS = (
    Option(
        "feed",
        "where packets come from: own, what clients send to this host; span, all that -i shows, whoever it is for;"
        " tunnel, what is inside of the VXLAN, GRE and ERSPAN packets for this host; forward, `copytool forward` on the"
        " online hosts. Except for own, -x names the online addresses",
        metavar="SOURCE",
        parse=_feed,
        default="own",
    ),
    Option("vxlan-port", "UDP port of VXLAN, with --feed tunnel", metavar="PORT", parse=PORT, default=VXLAN_PORT),
    Option(
        "feed-listen",
        "where `copytool forward` connects to, with --feed forward",
        metavar="ADDR:PORT",
        parse=values.parse_listen,
        default=("0.0.0.0", DEFAULT_FEED_PORT),
    ),
    Option(
        "forwarders",
        "who may, by the common name of its certificate; without it anybody with a certificate of --tls-ca",
        metavar="NAME,...",
        parse=values.parse_names,
        is_list=True,
    ),
)

FORWARD_OPTIONS = (
    Option(
        "service",
        "what is captured: what clients send to these services of this host",
        "x",
        "[IP:]PORT,...",
        values.parse_services,
        is_list=True,
    ),
    Option("to", "the copy that mirrors it; it runs with --feed forward", "s", "HOST[:PORT]", values.parse_endpoints),
    Option(
        "ratio",
        "per cent of client connections to send, chosen by the same hash as copy's: copy can mirror no others",
        "r",
        "PERCENT",
        values.number(0, 100, above=True),
        100.0,
    ),
    Option(
        "clients",
        "send only what clients in these networks send: CIDR networks or addresses",
        metavar="NET,...",
        parse=values.parse_networks,
        is_list=True,
    ),
    INTERFACE,
    Option(
        "buffer",
        "MiB of packets that may wait for the link; beyond it they are dropped, and copy is told",
        metavar="MIB",
        parse=values.integer(1, 65536),
        default=16,
    ),
    Option(
        "ring-size",
        "MiB of capture ring per interface; each lets forward be kept from running for 8 ms without loss",
        metavar="MIB",
        parse=values.integer(1, 4096),
        default=64,
    ),
    *LINK,
    *COMMON,
)
