"""The link with TLS: who gets in, who does not, what either is told, and what attackers cost."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from support.authority import TestAuthority

from copytool.io import link_server
from copytool.io.link_client import LinkClient
from copytool.io.link_server import CopyConnection, LinkServer
from copytool.io.loop import EventLoop
from copytool.io.settings import TlsFiles
from copytool.io.tls import TlsIdentity
from copytool.link import connection
from copytool.link.frames import HELLO, MAX_FRAME, encode_frame, encode_json

from .links import SHARE, TlsLink, fill, greet, is_closed, make_client, make_server, port_of, run_until

GREETING = encode_json(HELLO, {"protocol": 1, "version": "x"} | SHARE.to_json())


def test_both_ends_know_each_other(link: TlsLink, loop: EventLoop) -> None:
    """The link says that it is encrypted, and with whom; what flows through it arrives."""
    records: list[bytes] = []
    identity = TlsIdentity(link.client_files, is_server=False)
    address = ("127.0.0.1", port_of(link.server))
    client = LinkClient(loop, address, "intercept", greet, records.extend, lambda: None, identity)
    loop.services.append(client)
    run_until(loop, lambda: client.state == "established")
    assert client.status()["encrypted"] is True
    (peer,) = link.server.peers
    assert (peer.status()["certificate"], peer.status()["encrypted"]) == ("online", True)
    bodies = [bytes([number]) * 56 * 3000 for number in range(20)]
    for body in bodies:
        peer.end.send_records(body)
        peer.after_io()
        run_until(loop, lambda: not peer.blocked)
    run_until(loop, lambda: len(records) == len(bodies))
    assert records == bodies
    client.close()


def test_only_version_1_3_is_spoken(link: TlsLink, loop: EventLoop) -> None:
    """A client that offers an older version is refused."""
    context = _context(link.client_files)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(ssl.SSLError, match=r"(?i)protocol.version"):
        _converse(link, loop, context, lambda _tls: None)


def _context(files: TlsFiles, *, shows: bool = True) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(files.authority)
    if shows:
        context.load_cert_chain(files.certificate, files.key)
    return context


def _converse(
    link: TlsLink, loop: EventLoop, context: ssl.SSLContext, say: Callable[[ssl.SSLSocket], None], wait: bool = True
) -> None:
    """Talk to intercept in a thread of its own, as somebody else's program would; raise what that raises."""
    failures: list[BaseException] = []

    def talk() -> None:
        try:
            with (
                socket.create_connection(("127.0.0.1", port_of(link.server)), 10) as sock,
                context.wrap_socket(sock, server_hostname="127.0.0.1") as tls,
            ):
                say(tls)
                while wait and tls.recv(1000):
                    pass
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=talk)
    thread.start()
    run_until(loop, lambda: not thread.is_alive())
    if failures:
        raise failures[0]


# -- who gets in ---------------------------------------------------------------------------------------------


def _another_authority(link: TlsLink) -> TlsFiles:
    """A certificate of somebody else's authority, and still trust in ours."""
    other = TestAuthority(link.directory / "other").issue("online", "client")
    return replace(other, authority=link.client_files.authority)


def _for_servers(link: TlsLink) -> TlsFiles:
    """intercept's own kind of certificate: who gets hold of one must not pose as a copy."""
    return link.authority.issue("assistant-2", "server")


@pytest.mark.parametrize(
    ("files", "server_says", "client_says"),
    [
        (_another_authority, "certificate is refused", "unknown ca"),
        (TlsLink.expired, "certificate has expired", "certificate expired"),
        (_for_servers, "unsuitable certificate purpose", "unsupported certificate"),
    ],
)
def test_a_certificate_that_will_not_do(
    link: TlsLink, loop: EventLoop, caplog: pytest.LogCaptureFixture, files: Callable[[TlsLink], TlsFiles],
    server_says: str, client_says: str,
) -> None:  # fmt: skip
    """It is refused, counted and logged once however often it comes; both ends say why, and others are served."""
    good = link.establish()
    client = link.connect(files(link))
    run_until(loop, lambda: link.server.refused >= 2)
    run_until(loop, lambda: client.state == "closed")
    assert client_says in client.reason
    logged = [record.message for record in caplog.records if "ended" in record.message]
    assert len(logged) == 1 and server_says in logged[0]
    assert good.state == "established"


def test_a_copy_without_a_certificate(link: TlsLink, loop: EventLoop) -> None:
    """Without one there is no way in, whatever the hello says."""
    with pytest.raises((ssl.SSLError, ConnectionError)):
        _converse(link, loop, _context(link.client_files, shows=False), lambda tls: tls.sendall(GREETING))
    assert link.server.refused == 1


def test_a_copy_that_speaks_no_tls(link: TlsLink, loop: EventLoop) -> None:
    """Both ends say what is the matter."""
    client = link.connect(None)
    run_until(loop, lambda: link.server.refused == 1 and client.reason.startswith("closed"))
    assert "if it is run with --tls-cert, so must be this daemon" in client.reason


def test_an_intercept_that_speaks_no_tls(tmp_path: Path, loop: EventLoop, caplog: pytest.LogCaptureFixture) -> None:
    """copy does not fall back, and both ends say what is the matter."""
    files = TestAuthority(tmp_path / "ca").issue("online", "client")
    server = make_server(loop)
    client = make_client(loop, port_of(server), TlsIdentity(files, is_server=False))
    run_until(loop, lambda: "is it run with --plain?" in client.reason)
    assert "it speaks TLS, and this end does not (--plain)" in caplog.text
    client.close()
    server.close()


def _another_address(authority: TestAuthority, _directory: Path) -> TlsFiles:
    return authority.issue("assistant", "server", ["192.168.50.102"])


def _of_a_copy(authority: TestAuthority, _directory: Path) -> TlsFiles:
    return authority.issue("online-2", "client")


def _of_strangers(_authority: TestAuthority, directory: Path) -> TlsFiles:
    return TestAuthority(directory / "other").issue("assistant", "server")


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        (_another_address, "IP address mismatch"),
        (_of_a_copy, "unsuitable certificate purpose"),
        (_of_strangers, "certificate is refused"),
    ],
)
def test_a_false_intercept_learns_nothing(
    tmp_path: Path, loop: EventLoop, files: Callable[[TestAuthority, Path], TlsFiles], reason: str
) -> None:
    """copy does not say hello to whoever has another address, a copy's certificate, or another authority."""
    authority = TestAuthority(tmp_path / "ca")
    server = make_server(loop, 0, TlsIdentity(files(authority, tmp_path), is_server=True))
    mine = authority.issue("online", "client")
    client = make_client(loop, port_of(server), TlsIdentity(mine, is_server=False))
    run_until(loop, lambda: reason in client.reason)
    assert not any(peer.share for peer in server.peers)
    client.close()
    server.close()


# -- attackers -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [b"", b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\xff\xff" + bytes(20_000), b"\x16\x03\x01\x02\x00\x01", GREETING],
    ids=["nothing", "http", "garbage in a large handshake", "half a client hello", "a plain hello"],
)
def test_what_is_no_tls_ends_only_itself(
    link: TlsLink, loop: EventLoop, monkeypatch: pytest.MonkeyPatch, data: bytes
) -> None:
    """It is closed at once or after the time limit, and counted; a copy that is there does not notice."""
    good = link.establish()
    monkeypatch.setattr(connection, "DEAD_AFTER_S", 0.5)
    monkeypatch.setattr(connection, "PING_INTERVAL_S", 0.1)
    with socket.create_connection(("127.0.0.1", port_of(link.server))) as attacker:
        attacker.sendall(data)
        run_until(loop, lambda: link.server.refused == 1 and is_closed(attacker))
    assert good.state == "established"


@pytest.mark.parametrize(
    "data",
    [
        (MAX_FRAME + 1).to_bytes(4, "big") + b"\x01",
        b"\xff\xff\xff\xff\x01",
        encode_frame(HELLO, b"[]"),
        GREETING[:-1] + b"x",
    ],
)
def test_garbage_of_a_copy_that_may_connect(link: TlsLink, loop: EventLoop, data: bytes) -> None:
    """A certificate makes nobody trusted with the frames' contents."""
    good = link.establish()
    _converse(link, loop, _context(link.client_files), lambda tls: tls.sendall(data))
    assert link.server.refused == 1
    assert good.state == "established"


def test_a_replayed_connection(link: TlsLink, loop: EventLoop) -> None:
    """What a copy has sent once, octet by octet, opens nothing a second time."""
    recorded = _record_a_copy(link, loop)
    assert len(recorded) > 500
    with socket.create_connection(("127.0.0.1", port_of(link.server))) as attacker:
        attacker.sendall(recorded)
        run_until(loop, lambda: link.server.refused == 1 and is_closed(attacker))
    assert not any(peer.end.established for peer in link.server.peers)


def _record_a_copy(link: TlsLink, loop: EventLoop) -> bytes:
    """Return all that a copy sends until its link is established, through a relay that listens in."""
    sent = bytearray()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        identity = TlsIdentity(link.client_files, is_server=False)
        client = make_client(loop, listener.getsockname()[1], identity)
        run_until(loop, lambda: client.state != "closed")
        near, _ = listener.accept()
        far = socket.create_connection(("127.0.0.1", port_of(link.server)))
        with near, far:
            near.setblocking(False)
            far.setblocking(False)

            def relay() -> bool:
                for source, sink, record in ((near, far, sent), (far, near, bytearray())):
                    try:
                        data = source.recv(1 << 16)
                    except BlockingIOError:
                        continue
                    record += data
                    sink.setblocking(True)
                    sink.sendall(data)
                    sink.setblocking(False)
                return client.state == "established"

            run_until(loop, relay)
            client.close()
    run_until(loop, lambda: not link.server.peers)
    return bytes(sent)


def test_a_flood_of_connections(link: TlsLink, loop: EventLoop, caplog: pytest.LogCaptureFixture) -> None:
    """Ten thousand that say nothing: places, memory and log stay bounded, a copy keeps its link, another gets one."""
    good = link.establish()
    before = len(list(Path("/proc/self/fd").iterdir()))
    crowd: list[socket.socket] = []
    late: list[LinkClient] = []

    def flood() -> bool:
        for _ in range(50):
            sock = socket.socket()
            sock.setblocking(False)
            sock.bind(("127.0.0.9", 0))
            sock.connect_ex(("127.0.0.1", port_of(link.server)))
            crowd.append(sock)
        for sock in crowd[:-100]:
            sock.close()
        if len(crowd) == 5000:
            late.append(link.connect(link.client_files))
        return len(crowd) >= 10_000

    run_until(loop, flood, timeout_s=60)
    run_until(loop, lambda: late[0].state == "established")
    assert len(link.server.peers) <= link_server.MAX_PEERS
    for sock in crowd:
        sock.close()
    run_until(loop, lambda: len(link.server.peers) == 2)
    assert good.state == "established" and good.connects == late[0].connects == 1
    assert link.server.refused > 1_000  # others give up, or never get past the backlog
    assert len(caplog.records) < 20
    assert len(list(Path("/proc/self/fd").iterdir())) <= before + 2


def test_a_copy_that_never_reads(link: TlsLink, loop: EventLoop) -> None:
    """It holds up itself: once its socket is full its records stay queued, as few as without TLS."""
    good = link.establish()
    done = threading.Event()

    def say(tls: ssl.SSLSocket) -> None:
        tls.sendall(GREETING)
        done.wait(20)

    context = _context(link.client_files)
    thread = threading.Thread(target=lambda: _quietly(link, context, say))
    thread.start()
    run_until(loop, lambda: len(link.server.peers) == 2 and all(peer.welcomed for peer in link.server.peers))
    slow = link.server.peers[1]
    fill(slow, loop)
    assert len(slow.end.data_to_send()) <= 56_005
    done.set()
    run_until(loop, lambda: not thread.is_alive() and len(link.server.peers) == 1)
    assert good.state == "established"


def _quietly(link: TlsLink, context: ssl.SSLContext, say: Callable[[ssl.SSLSocket], None]) -> None:
    with socket.create_connection(("127.0.0.1", port_of(link.server)), 10) as sock:
        say(context.wrap_socket(sock, server_hostname="127.0.0.1"))


def test_a_server_of_the_same_kind(tmp_path: Path, loop: EventLoop) -> None:
    """IPv6, with the addresses in the certificate: the name that is checked is the address that is connected to."""
    authority = TestAuthority(tmp_path / "ca")
    identity = TlsIdentity(authority.issue("assistant", "server", ["::1"]), is_server=True)
    with closing(LinkServer(loop, "::1", 0, CopyConnection, lambda peer, now: peer.end.welcome("test", now),
                            lambda peer: None, lambda peer: None, identity)) as server:  # fmt: skip
        mine = TlsIdentity(authority.issue("online", "client"), is_server=False)
        client = LinkClient(
            loop,
            ("::1", port_of(server)),
            "intercept",
            greet,
            lambda records: None,
            lambda: None,
            mine,
        )
        loop.services.append(client)
        run_until(loop, lambda: client.state == "established")
        client.close()
