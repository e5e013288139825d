"""Mirrors an interface's frames as a switch does: tunnel.py INTERFACE KIND SOURCE DESTINATION. Prints "ready".

KIND is gre (Ethernet frames), gre-ip (IP packets), erspan1, erspan2 or erspan3. The interface's offloads must be off.
"""

from __future__ import annotations

import socket
import struct
import sys

ETH_P_ALL = 3
PACKET_OUTGOING = 4
SO_RCVBUFFORCE = 33
ETHERNET, ERSPAN_1_OR_2, ERSPAN_3 = 0x6558, 0x88BE, 0x22EB
SEQUENCE = 0x1000


def wrap(kind: str, frame: bytes, number: int) -> bytes:
    """Return what follows the outer IP header; b"" for what this kind does not carry."""
    counter = struct.pack("!I", number & 0xFFFFFFFF)
    if kind == "gre-ip":
        ethertype = frame[12:14]
        return b"\0\0" + ethertype + frame[14:] if ethertype in (b"\x08\x00", b"\x86\xdd") else b""
    if kind == "gre":
        return struct.pack("!HH", 0, ETHERNET) + frame
    if kind == "erspan1":
        return struct.pack("!HH", 0, ERSPAN_1_OR_2) + frame
    if kind == "erspan2":  # version 1, VLAN 0; session 7; port index 1
        return struct.pack("!HH", SEQUENCE, ERSPAN_1_OR_2) + counter + struct.pack("!HHI", 0x1000, 7, 1) + frame
    # version 2; session 7; time stamp; no security group; Ethernet, with the optional subheader of platform 1
    header = struct.pack("!HHIHH", 0x2000, 7, number & 0xFFFFFFFF, 0, 1) + struct.pack("!II", 1 << 26, 0)
    return struct.pack("!HH", SEQUENCE, ERSPAN_3) + counter + header + frame


def main() -> None:
    """Mirror until the end."""
    interface, kind, source, destination = sys.argv[1:]
    number = 0
    with (
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL)) as tap,
        socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_GRE) as out,
    ):
        tap.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20)
        tap.bind((interface, 0))
        tap.bind((interface, ETH_P_ALL))
        out.bind((source, 0))
        print("ready", flush=True)
        while True:
            frame, address = tap.recvfrom(65535)
            if address[2] == PACKET_OUTGOING and (packet := wrap(kind, frame, number)):
                out.sendto(packet, (destination, 0))
                number += 1


main()
