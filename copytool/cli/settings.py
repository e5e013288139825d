"""Checks that concern several options at once, and the settings that come out."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import Any

from ..errors import ConfigError
from ..io.control import default_control_socket
from ..io.settings import (
    DEFAULT_FEED_PORT,
    BudgetLimits,
    CopySettings,
    Feed,
    ForwardSettings,
    InterceptSettings,
    TlsFiles,
)
from ..link.share import Network
from ..mirror.config import MirrorConfig
from ..mirror.mapping import ClientNetwork
from ..mirror.targets import TargetMap
from ..wire.address import format_address

__all__ = ["copy_settings", "forward_settings", "intercept_settings"]

_MIB = 1 << 20


def _require(values: dict[str, Any], key: str, flag: str, example: str) -> Any:
    if values[key] is None:
        raise ConfigError(f"{flag} is missing; for example {example}")
    return values[key]


def copy_settings(values: dict[str, Any]) -> CopySettings:
    """Return the settings of `copytool copy`."""
    targets = _require(values, "map", "-x (--map)", "-x 1025-192.168.50.101:1025")
    intercepts = _require(values, "intercept", "-s (--intercept)", "-s 192.168.50.102")
    if values["only_new"] and values["join_midstream"]:
        raise ConfigError("-O (--only-new) and --join-midstream exclude each other; choose one")
    _check_targets(targets, values["upstreams"] or [])
    networks, ranges = _client_networks(values)
    network = ClientNetwork(ranges)
    for address, _port in targets.values():
        network.check_family(address)
        if address in network:
            text = format_address(address)
            raise ConfigError(f"-c (--client-network): target {text} is inside it; use a network that exists nowhere")
    return CopySettings(
        targets=targets,
        intercepts=[(host, port or values["port"]) for host, port in intercepts],
        client_networks=networks,
        client_ranges=ranges,
        control_socket=values["control_socket"] or default_control_socket("copy"),
        interfaces=values["interface"] or [""],
        allow_local_target=values["allow_local_target"] or False,
        clients=values["clients"] or [],
        mirror=MirrorConfig(
            copies=values["copies"],
            ratio_percent=values["ratio"],
            dry_run=values["dry_run"] or False,
            hold_limit_s=values["hold_limit"],
            quiet_max_s=values["quiet_limit"],
            gap_timeout_s=values["gap_timeout"],
            idle_timeout_s=values["idle_timeout"],
            close_timeout_s=values["close_timeout"],
            check_after_s=values["check_after"],
            join_midstream=values["join_midstream"] or False,
            syn_retries=values["syn_retries"],
            data_retries=values["data_retries"],
            mtu_bytes=values["mtu"],
            max_sessions=values["max_sessions"],
            session_buffer_bytes=values["session_buffer"] * _MIB,
            total_buffer_bytes=values["total_buffer"] * _MIB,
        ),
        tls=_link_tls(values) if values["feed"] == "forward" or not values["dry_run"] else None,
        budgets=_budget_limits(values),
        feed=_feed(values),
        ring_bytes=values["ring_size"] * _MIB,
        workers=values["workers"],
    )


def _feed(values: dict[str, Any]) -> Feed:
    """Return where packets come from; refuses what cannot be then."""
    kind, forwarders = values["feed"], values["forwarders"]
    if forwarders is not None and (kind != "forward" or values["plain"]):
        raise ConfigError("--forwarders goes by certificates, so it needs --feed forward and no --plain; leave it out")
    if kind == "own":
        return Feed()
    for address, port in values["map"]:
        if address is None:
            raise ConfigError(
                f"-x (--map): port {port} is without an address. With --feed {kind} say whose it is, for example"
                f" -x 192.168.50.10:{port}-192.168.50.101:{port}: what goes to the target may be among the packets, too"
            )
    if kind == "span" and values["interface"] in (None, [""]):
        raise ConfigError("--feed span needs -i (--interface): the interface that the mirrored packets come to")
    if kind != "span" and values["interface"] is not None:
        hint = "; `copytool forward` has one of its own" if kind == "forward" else ""
        raise ConfigError(f"-i (--interface) says nothing with --feed {kind}{hint}; leave it out")
    if kind != "span" and values["workers"] > 1:
        raise ConfigError(
            f"--workers {values['workers']}: with --feed {kind} there can be only one, because the kernel cannot tell"
            " what is inside of packets; let several assistants share the online hosts"
        )
    return Feed(kind, values["vxlan_port"], values["feed_listen"], forwarders)


def _budget_limits(values: dict[str, Any]) -> BudgetLimits:
    memory, bandwidth = values["memory_limit"], values["bandwidth_limit"]
    return BudgetLimits(
        cpu_percent=values["cpu_limit"],
        memory_bytes=None if memory is None else memory * _MIB,
        bandwidth_bits=None if bandwidth is None else round(bandwidth * 1e6),
    )


def _check_targets(targets: TargetMap, upstreams: list[Network]) -> None:
    """Refuse targets that are production themselves: real requests would reach it a second time."""
    for target, target_port in targets.values():
        text = f"{format_address(target)} port {target_port}"
        if (target, target_port) in targets:
            raise ConfigError(f"-x (--map): {text} is both a target and an online service; mirroring would feed itself")
        for network in upstreams:
            if ip_address(target) in network:
                raise ConfigError(
                    f"-x (--map): target {text} is one of --upstreams ({network}), which the service uses in"
                    " production; name the test host"
                )


def _client_networks(values: dict[str, Any]) -> Any:
    given, keep = values["client_network"], values["keep_client_addresses"]
    if given and keep:
        raise ConfigError("-c (--client-network) and --keep-client-addresses exclude each other; choose one")
    if given:
        return given
    if keep and values["allow_local_target"]:
        raise ConfigError(
            "--allow-local-target and --keep-client-addresses exclude each other: this host's answers would reach the"
            " clients; say -c, like -c 192.168.60.x"
        )
    if keep:
        return [ip_network("0.0.0.0/0"), ip_network("::/0")], []
    raise ConfigError(
        "-c (--client-network) is missing; for example -c 192.168.60.x. Without it the target answers to real clients'"
        " addresses; where that cannot reach them, say --keep-client-addresses"
    )


def intercept_settings(values: dict[str, Any]) -> InterceptSettings:
    """Return the settings of `copytool intercept`."""
    bind, extra_port = values["bind"][0]
    if len(values["bind"]) > 1 or extra_port:
        raise ConfigError("-b (--bind): one address without a port; the port is -p (--port)")
    interfaces = _require(values, "interface", "-i (--interface)", "-i ens18")
    packet_filter = _require(values, "filter", "-F (--filter)", "-F 'tcp and src port 1025'")
    tls = _link_tls(values)
    if values["peers"] is not None and tls is None:
        raise ConfigError("--peers goes by the copies' certificates, and with --plain they have none; leave one out")
    return InterceptSettings(
        interfaces=interfaces,
        filter=packet_filter,
        control_socket=values["control_socket"] or default_control_socket("intercept"),
        bind=bind,
        port=values["port"],
        tls=tls,
        peers=values["peers"],
    )


def forward_settings(values: dict[str, Any]) -> ForwardSettings:
    """Return the settings of `copytool forward`."""
    services = _require(values, "service", "-x (--service)", "-x 1025")
    copies = _require(values, "to", "-s (--to)", "-s 192.168.50.102")
    if len(copies) > 1:
        raise ConfigError("-s (--to): one copy, which sees all packets of a connection")
    host, port = copies[0]
    return ForwardSettings(
        services=services,
        copy=(host, port or DEFAULT_FEED_PORT),
        control_socket=values["control_socket"] or default_control_socket("forward"),
        interfaces=values["interface"] or [""],
        ratio_percent=values["ratio"],
        clients=values["clients"] or [],
        buffer_bytes=values["buffer"] * _MIB,
        ring_bytes=values["ring_size"] * _MIB,
        tls=_link_tls(values),
    )


def _link_tls(values: dict[str, Any]) -> TlsFiles | None:
    """Return what the link is encrypted with, None for --plain: that has to be said."""
    certificate, key, authority = values["tls_cert"], values["tls_key"], values["tls_ca"]
    if values["plain"]:
        if certificate or key or authority:
            raise ConfigError("--plain and --tls-cert, --tls-key, --tls-ca exclude each other; choose one")
        return None
    if certificate is None or authority is None:
        missing = "--tls-cert" if certificate is None else "--tls-ca"
        raise ConfigError(
            f"{missing} is missing: the link needs --tls-cert and --tls-ca, at both ends, to"
            " be encrypted. On a network where nobody else is, say --plain"
        )
    return TlsFiles(certificate, key or certificate, authority)
