"""Counts IPv4 packets with an address in 192.168.60.0/24 that arrive at ens18; prints the count at SIGTERM."""

from __future__ import annotations

import signal
import socket
import sys

NETWORK = bytes((192, 168, 60))
OUTGOING = 4


def main() -> None:
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0800))
    sock.bind(("ens18", 0x0800))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    print("sniffing", flush=True)
    count = 0
    try:
        while True:
            packet, address = sock.recvfrom(64)
            if address[2] != OUTGOING and NETWORK in (packet[12:15], packet[16:19]):
                count += 1
    finally:
        print(f"count {count}", flush=True)


main()
