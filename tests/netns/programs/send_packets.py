"""Sends IP packets as they are, whatever is wrong with them: send_packets.py MAC < lines of hexadecimal digits."""

from __future__ import annotations

import socket
import sys

INTERFACE = "ens18"
ETHERTYPE = {4: 0x0800, 6: 0x86DD}


def main() -> None:
    """Send one packet for each line."""
    address = bytes.fromhex(sys.argv[1].replace(":", ""))
    with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM) as sock:
        for line in sys.stdin:
            packet = bytes.fromhex(line)
            sock.sendto(packet, (INTERFACE, ETHERTYPE.get(packet[0] >> 4, 0x0800), 0, 0, address))


main()
