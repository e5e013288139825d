"""Records the golden captures anew: `sudo .venv/bin/python -m tests.golden.record`, in namespaces of its own.

Each is what a packet socket at the online host sees of what a client of tests/netns/programs sends, from the IP header
on; beside it stands what the service has read. The tests need no root: they only read the files.
"""

from __future__ import annotations

import json
import struct
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from scapy.utils import RawPcapWriter

from tests.netns.hosts import Host, Network, output, wait_until

GOLDEN = Path(__file__).parent
PROGRAMS = GOLDEN.parent / "netns" / "programs"
DLT_RAW = 101

TAP = """
import socket, struct, sys, time
sock = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3))
sock.bind(("ens18", 3))
print("tapped", flush=True)
out = open(sys.argv[1], "wb")
while True:
    packet, address = sock.recvfrom(70000)
    if address[2] == 0 and packet[9:10] == b"\\x06" and packet[22:24] == (1026).to_bytes(2, "big"):
        out.write(struct.pack("=dI", time.time(), len(packet)) + packet)
        out.flush()
"""


def nothing(network: Network) -> None:
    """The network as it is."""


def lossy(network: Network) -> None:
    """Every eighth packet to online is lost behind the tap, so the client sends it again."""
    network.online.run("nft", "add table ip t; add chain ip t in { type filter hook input priority 0; }")
    network.online.run("nft", "add rule ip t in tcp dport 1026 numgen inc mod 8 == 7 drop")


def fast_open(network: Network) -> None:
    """Both kernels allow TCP Fast Open."""
    for host in (network.client, network.online):
        host.run("sysctl", "-qw", "net.ipv4.tcp_fastopen=3")


def segments(network: Network) -> None:
    """No super-segments."""
    for host in (network.client, network.online):
        host.run("ethtool", "-K", "ens18", "tso", "off", "gso", "off", "gro", "off")


SCENES: dict[str, tuple[str, str, Callable[[Network], None]]] = {
    "turns": ("plain", "", nothing),
    "segments-lost": ("reuse", "", lossy),
    "single-segments": ("plain", "", segments),
    "wrap": ("wrap", "", nothing),
    "urgent": ("urgent", "", nothing),
    "fast-open": ("fast_open", "", fast_open),
    "ports-reused": ("reuse", "", nothing),
}


def record(name: str, client: str, options: str, prepare: Callable[[Network], None]) -> None:
    """Record one scene."""
    network = Network(Path(tempfile.mkdtemp()))
    try:
        network.create()
        prepare(network)
        server = network.online.start(sys.executable, PROGRAMS / "tcp_server.py", *options.split())
        network.wait_listening("online", 1026)
        packets = network.online.scratch / "packets"
        tap(network.online, packets)
        network.client.run(sys.executable, PROGRAMS / "tcp_client.py", client)
        wait_until(lambda: output(server).count("\n") >= 1 and quiet(packets), "all is captured")
        sessions = [json.loads(line) for line in output(server).splitlines()]
        write(name, packets.read_bytes(), sessions)
    finally:
        network.delete()


def tap(host: Host, packets: Path) -> None:
    """Start to write what arrives into a file."""
    child = host.start(sys.executable, "-c", TAP, packets)
    wait_until(lambda: "tapped" in output(child), "the tap is open")


def quiet(packets: Path) -> bool:
    """Return whether nothing has been added for a moment."""
    return packets.exists() and time.time() - packets.stat().st_mtime > 0.5


def write(name: str, raw: bytes, sessions: list[dict[str, object]]) -> None:
    """Write the capture and what the service has read."""
    writer = RawPcapWriter(str(GOLDEN / f"{name}.pcap"), linktype=DLT_RAW)
    writer.write_header(None)
    at = 0
    while at < len(raw):
        seconds, size = struct.unpack_from("=dI", raw, at)
        packet = raw[at + 12 : at + 12 + size]
        at += 12 + size
        writer.write_packet(packet, sec=int(seconds), usec=int(seconds % 1 * 1_000_000))
    writer.close()
    streams = sorted([session["bytes"], session["sha256"]] for session in sessions)  # type: ignore[type-var]
    (GOLDEN / f"{name}.json").write_text(json.dumps(streams, indent=1) + "\n")
    print(f"{name}: {len(sessions)} sessions, {len(raw)} octets")


if __name__ == "__main__":
    for scene, arguments in SCENES.items():
        record(scene, *arguments)
