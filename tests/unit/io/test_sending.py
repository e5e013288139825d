"""Several packets are handed over at once, in order, and the first that is refused is told apart."""

from __future__ import annotations

import errno
import socket

from copytool.io.sending import MAX_BATCH, send_many


def test_messages_are_sent_in_order() -> None:
    """Prefix and packet make one datagram; what was sent before stays out."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with ours, theirs:
        messages = [(b"a", bytearray(b"1")), (b"b", bytearray(b"2"), "more"), (b"", bytearray(b"3"))]
        assert send_many(ours.fileno(), messages, 1) == 2
        assert [theirs.recv(9), theirs.recv(9)] == [b"b2", b"3"]


def test_no_more_than_a_batch() -> None:
    """The caller goes on where it ended."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        ours.setblocking(False)
        sent = send_many(ours.fileno(), [(b"", bytearray(b"x"))] * (MAX_BATCH + 5), 0)
        assert 0 < sent <= MAX_BATCH


def test_an_error_of_the_first_is_returned() -> None:
    """As a negative number; one behind others waits for the next call."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with ours:
        theirs.close()
        assert send_many(ours.fileno(), [(b"a", bytearray(b"1"))], 0) == -errno.ECONNREFUSED
