"""What journald receives, read from a socket in its place."""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from copytool.io.journal import JournalHandler, encode_fields, is_journal


def decode(datagram: bytes) -> dict[str, str]:
    """Return the fields of a datagram, read by systemd's description of the format."""
    fields = {}
    while datagram:
        line, _, datagram = datagram.partition(b"\n")
        name, equals, value = line.partition(b"=")
        if not equals:
            size = int.from_bytes(datagram[:8], "little")
            value, end, datagram = datagram[8 : 8 + size], datagram[8 + size : 9 + size], datagram[9 + size :]
            assert len(value) == size and end == b"\n"
        fields[name.decode()] = value.decode(errors="replace")
    return fields


class Journal:
    """A socket in journald's place, and a logger that writes to it."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.socket.bind(str(path))
        self.handler = JournalHandler("copy", path)
        self.log = logging.Logger("copytool.io.ring")
        self.log.addHandler(self.handler)

    def read(self) -> dict[str, str]:
        """Return the fields of the next message."""
        return decode(self.socket.recv(1 << 18))

    def close(self) -> None:
        """End everything."""
        self.handler.close()
        self.socket.close()


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    made = Journal(tmp_path / "socket")
    yield made
    made.close()


def test_fields(journal: Journal) -> None:
    """Text, priority, who and where; no field for what there is nothing to say of."""
    journal.log.warning("capture on %s: %s", "ens18", "Network is down")
    fields = journal.read()
    assert int(fields.pop("CODE_LINE")) > 0
    assert fields == {
        "MESSAGE": "capture on ens18: Network is down",
        "PRIORITY": "4",
        "SYSLOG_IDENTIFIER": "copytool",
        "SYSLOG_FACILITY": "3",
        "CODE_FILE": __file__,
        "CODE_FUNC": "test_fields",
        "COPYTOOL_ROLE": "copy",
        "COPYTOOL_LOGGER": "copytool.io.ring",
    }


@pytest.mark.parametrize(
    ("level", "priority"),
    [
        (logging.CRITICAL, "2"),
        (logging.ERROR, "3"),
        (logging.WARNING, "4"),
        (logging.INFO, "6"),
        (logging.DEBUG, "7"),
    ],
)
def test_priorities(journal: Journal, level: int, priority: str) -> None:
    """As syslog.h has them."""
    journal.log.log(level, "text")
    assert journal.read()["PRIORITY"] == priority


def test_process_and_what_was_not_shown(journal: Journal) -> None:
    """They are fields when they are known."""
    journal.log.error("text", extra={"process_label": "worker 2", "not_shown": 17})
    fields = journal.read()
    assert (fields["COPYTOOL_PROCESS"], fields["COPYTOOL_NOT_SHOWN"]) == ("worker 2", "17")


_WORKER = """
import logging, sys
from pathlib import Path
from copytool.io.journal import JournalHandler
from copytool.io.processes import leave_parent
logging.getLogger().addHandler(JournalHandler("copy", Path(sys.argv[1])))
leave_parent({2}, "worker 3")
logging.error("text")
"""


def test_a_worker_goes_on_logging(journal: Journal, tmp_path: Path) -> None:
    """It gives up all that it has inherited from the supervisor but this socket, and says which one it is."""
    subprocess.run([sys.executable, "-c", _WORKER, str(tmp_path / "socket")], timeout=30, check=True)
    fields = journal.read()
    assert (fields["MESSAGE"], fields["COPYTOOL_PROCESS"]) == ("worker 3: text", "worker 3")


def test_a_traceback_is_one_message(journal: Journal) -> None:
    """Of several lines, so in the binary form."""
    try:
        raise ZeroDivisionError
    except ZeroDivisionError:
        journal.log.exception("internal error %d", 1)
    message = journal.read()["MESSAGE"].splitlines()
    assert message[0] == "internal error 1" and message[-1] == "ZeroDivisionError"


def test_texts_cannot_make_fields(journal: Journal) -> None:
    """A line break in what a peer has sent begins no field."""
    journal.log.warning("refused: %s", "bad\nPRIORITY=0\nUSER=root")
    fields = journal.read()
    assert fields["PRIORITY"] == "4" and "USER" not in fields
    assert fields["MESSAGE"] == "refused: bad\nPRIORITY=0\nUSER=root"


def test_binary_form() -> None:
    """Name, line feed, length in 64 bits little-endian, value, line feed (JOURNAL_NATIVE_PROTOCOL)."""
    assert encode_fields({"A": "1", "B": "x\ny"}) == b"A=1\nB\n\x03\0\0\0\0\0\0\0x\ny\n"


def test_a_long_message_is_cut(journal: Journal) -> None:
    """A datagram that is too long would be refused as a whole."""
    journal.log.warning("x" * 1_000_000)
    assert journal.read()["MESSAGE"] == "x" * (1 << 15)


def test_what_is_no_unicode_is_sent_all_the_same(journal: Journal) -> None:
    """File names may be anything."""
    journal.log.warning("no %s", b"\xff".decode(errors="surrogateescape"))
    assert journal.read()["MESSAGE"] == "no ?"


def test_a_journal_that_does_not_read_holds_nobody_up(journal: Journal) -> None:
    """What it has no room for is lost, counted, and the count stands in what comes after it."""
    count = 0
    while not journal.handler.lost:
        count += 1
        assert count < 100_000
        journal.log.warning("text")
    journal.log.warning("text")
    assert journal.handler.lost == 2
    for _ in range(count - 1):
        assert "COPYTOOL_LOST" not in journal.read()
    journal.log.warning("text")
    assert journal.read()["COPYTOOL_LOST"] == "2"


def test_a_journal_that_is_gone_and_comes_back(tmp_path: Path) -> None:
    """Its socket is looked for each time."""
    path = tmp_path / "socket"
    first = Journal(path)
    first.socket.close()
    path.unlink()
    first.log.warning("lost")
    second = Journal(path)
    first.log.warning("text")
    assert second.read()["COPYTOOL_LOST"] == "1"
    first.close()
    second.close()


def test_is_journal(tmp_path: Path) -> None:
    """Only if stderr is what JOURNAL_STREAM says: a shell in a unit may have redirected it."""
    with (tmp_path / "file").open("w") as stream:
        status = os.fstat(stream.fileno())
        assert is_journal(stream, {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"})
        assert not is_journal(stream, {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino + 1}"})
        assert not is_journal(stream, {})
    assert not is_journal(stream, {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}), "it is closed"
    assert not is_journal(sys.__stderr__, {})
    assert not is_journal(None, {"JOURNAL_STREAM": "1:2"})
