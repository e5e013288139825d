"""Where packets come from, on the command line and in what the daemons show: feeds of copy, and forward."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from copytool.cli import values
from copytool.cli.arguments import COMMANDS, parse_arguments
from copytool.cli.main import main
from copytool.cli.settings import copy_settings, forward_settings
from copytool.cli.status import format_status
from copytool.cli.watch import format_view
from copytool.errors import ConfigError
from copytool.io.control import default_control_socket
from copytool.io.metrics import StatusCollector
from copytool.io.settings import Feed, TlsFiles

from .test_watch import copy_status, rows

ONLINE = bytes((192, 168, 50, 10))
MAPPED = "192.168.50.10:1025-192.168.50.101:1025"
COPY = ["copy", "-x", MAPPED, "-s", "127.0.0.1", "-c", "192.168.60.x"]
PLAIN = [*COPY, "--plain"]
ANYWHERE = ["copy", "--plain", "-x", "1025-192.168.50.101:1025", "-s", "127.0.0.1", "-c", "192.168.60.x"]
TLS = ["--tls-cert", "/a.pem", "--tls-ca", "/ca.pem"]
FORWARD = ["forward", "-x", "1025", "-s", "192.168.50.102", "--plain"]


def copy_feed(*words: str) -> Feed:
    return copy_settings(parse_arguments([*PLAIN, *words])[1]).feed


# -- options -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "feed"),
    [
        ("", Feed()),
        ("--feed own", Feed()),
        ("--feed span -i ens19", Feed("span")),
        ("--feed span -i ens19,ens20 --workers 2", Feed("span")),
        ("--feed tunnel", Feed("tunnel")),
        ("--feed tunnel --vxlan-port 8472", Feed("tunnel", 8472)),
        ("--feed forward", Feed("forward")),
        ("--feed forward --feed-listen [::1]:5", Feed("forward", listen=("::1", 5))),
    ],
)
def test_feeds(words: str, feed: Feed) -> None:
    """Each has its own options; what it does not use has the defaults."""
    assert copy_feed(*words.split()) == feed


def test_defaults() -> None:
    """The documented ports."""
    assert (Feed().vxlan_port, Feed().listen, Feed().forwarders) == (4789, ("0.0.0.0", 36525), None)
    assert [Feed(kind).is_own for kind in ("own", "span", "tunnel", "forward")] == [True, False, False, False]


def test_forwarders_are_named_by_their_certificates(tmp_path: Path) -> None:
    """A list; an empty one in the file is not the same as none: nobody may."""
    words = [*COPY, "--feed", "forward", *TLS, "--forwarders", "online-1,online-2", "--forwarders", "online-3"]
    feed = copy_settings(parse_arguments(words)[1]).feed
    assert feed.forwarders == ["online-1", "online-2", "online-3"]
    config = tmp_path / "copy.toml"
    config.write_text(
        f'[copy]\nmap = "{MAPPED}"\nintercept = "127.0.0.1"\nclient_network = "192.168.60.x"\nfeed = "forward"\n'
        'tls_cert = "/a"\ntls_ca = "/b"\nforwarders = []\n'
    )
    assert copy_settings(parse_arguments(["copy", "-C", str(config)])[1]).feed.forwarders == []


def test_forwards_settings() -> None:
    """The shortest command, with its defaults."""
    settings = forward_settings(parse_arguments(FORWARD)[1])
    assert (settings.services, settings.copy) == ([(None, 1025)], ("192.168.50.102", 36525))
    assert (settings.interfaces, settings.clients, settings.ratio_percent) == ([""], [], 100.0)
    assert (settings.buffer_bytes, settings.ring_bytes, settings.tls) == (16 << 20, 64 << 20, None)
    assert settings.control_socket == default_control_socket("forward")


def test_all_of_forwards_settings(tmp_path: Path) -> None:
    """From flags and from the file alike."""
    words = [
        *("forward", "-x", "192.168.50.10:1025,[fd50::10]:80", "-s", "[fd50::102]:5", "-r", "12.5"),
        *("--clients", "10.0.0.0/8", "-i", "a,b", "--buffer", "2", "--ring-size", "4"),
        *("--control-socket", "/run/f.sock", "--tls-key", "/k.pem"),
    ]
    config = tmp_path / "forward.toml"
    config.write_text(
        '[forward]\nservice = ["192.168.50.10:1025", "[fd50::10]:80"]\nto = "[fd50::102]:5"\nratio = 12.5\n'
        'clients = "10.0.0.0/8"\ninterface = ["a", "b"]\nbuffer = 2\nring_size = 4\ncontrol_socket = "/run/f.sock"\n'
        'tls_cert = "/a.pem"\ntls_ca = "/ca.pem"\ntls_key = "/k.pem"\n'
    )
    given = forward_settings(parse_arguments([*words, *TLS])[1])
    assert given == forward_settings(parse_arguments(["forward", "-C", str(config)])[1])
    assert given.services == [(ONLINE, 1025), (bytes.fromhex("fd50" + "00" * 13 + "10"), 80)]
    assert (given.copy, given.ratio_percent) == (("fd50::102", 5), 12.5)
    assert (given.interfaces, given.clients) == (["a", "b"], [ip_network("10.0.0.0/8")])
    assert (given.buffer_bytes, given.ring_bytes) == (2 << 20, 4 << 20)
    assert given.tls == TlsFiles(Path("/a.pem"), Path("/k.pem"), Path("/ca.pem"))


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([*PLAIN, "--feed", "pcap"], "--feed: 'pcap' is not own, span, tunnel or forward"),
        (
            [*ANYWHERE, "--feed", "tunnel"],
            "-x (--map): port 1025 is without an address. With --feed tunnel say whose it is, for example"
            " -x 192.168.50.10:1025-192.168.50.101:1025",
        ),
        ([*ANYWHERE, "--feed", "span", "-i", "ens19"], "port 1025 is without an address. With --feed span"),
        ([*ANYWHERE, "--feed", "forward"], "port 1025 is without an address. With --feed forward"),
        ([*PLAIN, "--feed", "span"], "--feed span needs -i (--interface)"),
        ([*PLAIN, "--feed", "span", "-i", "any"], "--feed span needs -i (--interface)"),
        ([*PLAIN, "--feed", "forward", "-i", "ens18"], "-i (--interface) says nothing with --feed forward"),
        ([*PLAIN, "--feed", "tunnel", "-i", "ens18"], "-i (--interface) says nothing with --feed tunnel; leave it out"),
        ([*PLAIN, "--feed", "tunnel", "--workers", "2"], "--workers 2: with --feed tunnel there can be only one"),
        ([*PLAIN, "--feed", "forward", "--workers", "3"], "--workers 3: with --feed forward there can be only one"),
        ([*PLAIN, "--feed", "forward", "--forwarders", "a"], "--forwarders goes by certificates"),
        ([*COPY, *TLS, "--forwarders", "a"], "--forwarders goes by certificates, so it needs --feed forward"),
        ([*COPY, *TLS, "--feed", "forward", "--forwarders", "a,"], "--forwarders: an item of the list is empty"),
        ([*PLAIN, "--vxlan-port", "0"], "--vxlan-port: '0' is not a whole number in 1..65535"),
        ([*PLAIN, "--feed-listen", "36525"], "--feed-listen: '36525' is not address:port"),
        (["forward", *FORWARD[3:]], "-x (--service) is missing; for example -x 1025"),
        ([*FORWARD[:3], "--plain"], "-s (--to) is missing; for example -s 192.168.50.102"),
        ([*FORWARD, "-s", "10.0.0.1,10.0.0.2"], "-s (--to): one copy, which sees all packets of a connection"),
        ([*FORWARD, "-x", "1025"], "-x (--service): '1025' is named twice"),
        ([*FORWARD, "-x", "1025-10.0.0.1"], "-x (--service): '1025-10.0.0.1' is not [ip:]port"),
        ([*FORWARD, "-x", "65536"], "-x (--service): port 65536 is not in 1..65535"),
        ([*FORWARD, "-r", "0"], "-r (--ratio): '0' is not a number above 0 and up to 100"),
        ([*FORWARD, "--buffer", "0"], "--buffer: '0' is not a whole number in 1..65536"),
        ([*FORWARD, "--ring-size", "4097"], "--ring-size: '4097' is not a whole number in 1..4096"),
        ([*FORWARD, "--clients", "10.0.0.1/8"], "did you mean 10.0.0.0/8?"),
        (FORWARD[:-1], "--tls-cert is missing: the link needs --tls-cert and --tls-ca, at both ends"),
        ([*FORWARD, "--tls-ca", "x"], "--plain and --tls-cert, --tls-key, --tls-ca exclude each other"),
        ([*FORWARD, "-c", "192.168.60.x"], "unrecognized arguments: -c"),
    ],
)
def test_mistakes(arguments: list[str], reason: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One line that says what would be right, and status 2."""
    assert main(arguments) == 2
    output = capsys.readouterr()
    assert output.out == "" and len(output.err.splitlines()) == 1
    assert reason in output.err


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    """It has every option, examples of all three hosts' daemons, and the exit statuses."""
    with pytest.raises(SystemExit) as ended:
        main(["forward", "--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    assert [option.long for option in COMMANDS["forward"] if f"--{option.long}" not in text] == []
    assert "exit status:" in text and "[forward]" in text
    for line in text.splitlines():
        daemon, _, command = line.strip().partition("# copytool ")
        if daemon in ("online", "assistant"):
            name, *words = command.replace("'tcp and src port 1025'", "tcp").split()
            parse_arguments([name, *words])  # the examples are right


@pytest.mark.parametrize(
    ("text", "services"),
    [
        ("1025", [(None, 1025)]),
        ("192.168.50.10:80, 80", [(ONLINE, 80), (None, 80)]),
        ("[::1]:443,localhost:443", [(bytes(15) + b"\1", 443), (bytes((127, 0, 0, 1)), 443)]),
    ],
)
def test_services(text: str, services: list[tuple[bytes | None, int]]) -> None:
    """Of any address, or of one."""
    assert values.parse_services(text) == services


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "an item of the list is empty"),
        ("80,", "an item of the list is empty"),
        ("0", "port 0 is not in 1..65535"),
        ("::1:80x", "is not [ip:]port, like 1025 or 192.168.50.10:1025"),
        ("no-such-host.invalid:80", "'no-such-host.invalid' does not resolve"),
        ("127.0.0.1:80,localhost:80", "'localhost:80' is named twice"),
        (",".join(map(str, range(1, 4000))), "services"),
    ],
)
def test_bad_services(text: str, reason: str) -> None:
    """Each mistake is named."""
    with pytest.raises(ConfigError) as error:
        values.parse_services(text)
    assert reason in str(error.value)


# -- what is shown -----------------------------------------------------------------------------------------------------


def forward_status(seconds: int = 1, **changes: Any) -> dict[str, Any]:
    """Return what forward says after so many seconds of steady work."""
    link = {"peer": "192.168.50.102:36525", "state": "established", "reason": "", "encrypted": False, "version": "1"}
    return {
        "role": "forward",
        "version": "1",
        "flavour": "pure",
        "capabilities": [],
        "capture": {"packets": 1_500 * seconds, "drops": 2 * seconds, "problems": {}},
        "forwarded": {
            "packets": 1_200 * seconds,
            "dropped": {"no_link": 7 * seconds, "slow_link": 0},
            "waiting_bytes": 12_345,
            "buffer_bytes": 16 << 20,
        },
        "link": [link],
        "certificate": None,
        "internal_errors": 0,
        "cpu_s": 0.1,
        **changes,
    }


def test_forwards_status() -> None:
    """What was forwarded and what was not; a reason that there was none of takes no line."""
    lines = format_status(forward_status())
    text = "\n".join(lines)
    assert "  forwarded    1,200 packets" in lines
    assert "               7  dropped: there was no link to copy" in lines
    assert "the link did not keep up" not in text
    assert "  waiting      12,345 of 16,777,216 bytes" in lines
    assert "  capture      1,500 packets, 2 dropped by the kernel" in lines
    assert "192.168.50.102:36525" in text and "feed" not in text


def test_watching_forward() -> None:
    """Rates of what is forwarded and dropped."""
    shown = rows(format_view(forward_status(4), forward_status(2), 2.0))
    assert shown["forwarded packets"] == ["1,200", "4,800"]
    assert shown["dropped: no_link"] == ["7", "28"]
    assert shown["dropped: slow_link"] == ["0", "0"]
    assert shown["captured packets"] == ["1,500", "6,000"]
    first = rows(format_view(forward_status(4), forward_status(4), 0.0))
    assert first["forwarded packets"] == ["-", "4,800"]


def test_forwards_metrics() -> None:
    """Each figure of its status, and those that all daemons have."""
    collector = StatusCollector(lambda: {"forward": forward_status(2)})
    samples = {
        (sample.name, *sample.labels.values()): sample.value for one in collector.collect() for sample in one.samples
    }
    assert samples["copytool_up", "forward"] == 1
    assert samples["copytool_captured_packets_total", "forward"] == 3_000
    assert samples["copytool_forwarded_packets_total",] == 2_400
    assert samples["copytool_unforwarded_packets_total", "no_link"] == 14
    assert samples["copytool_unforwarded_packets_total", "slow_link"] == 0
    assert (
        samples["copytool_forward_waiting_bytes",],
        samples["copytool_forward_link_up", "192.168.50.102:36525"],
    ) == (12_345, 1)


def feed_lines(feed: dict[str, Any]) -> list[str]:
    """Return the lines of copy's status that are not there without `feed`."""
    status = copy_status(1)
    without = format_view(status, status, 0.0)
    return [line for line in format_view({**status, "feed": feed}, status, 0.0) if line not in without]


LINK = {"peer": "192.168.50.10:40000", "state": "established", "version": "1", "certificate": "online"}


@pytest.mark.parametrize(
    ("feed", "lines"),
    [
        ({"kind": "own"}, []),
        ({"kind": "span"}, ["  feed         span"]),
        ({"kind": "tunnel", "empty_packets": 0}, ["  feed         tunnel"]),
        (
            {"kind": "tunnel", "empty_packets": 12_345},
            ["  feed         tunnel, 12,345 packets with nothing inside"],
        ),
        (
            {"kind": "forward", "lost_packets": 0, "links": [], "refused_links": 0},
            ["  feed         forward, 0 packets lost on the way; NONE is connected"],
        ),
        (
            {
                "kind": "forward",
                "lost_packets": 1_234,
                "links": [
                    {**LINK, "encrypted": True, "services": ["1025", "[fd50::10]:80"]},
                    {**LINK, "peer": "[fd50::11]:40001", "state": "greeting", "encrypted": False, "services": []},
                ],
                "refused_links": 3,
            },
            [
                "  feed         forward, 1,234 packets lost on the way",
                "               from 192.168.50.10:40000 established encrypted: services 1025, [fd50::10]:80",
                "               from [fd50::11]:40001 greeting not encrypted: services ",
            ],
        ),
    ],
)
def test_copys_feed(feed: dict[str, Any], lines: list[str]) -> None:
    """A line where it is not the host's own clients, and one for each forward."""
    assert feed_lines(feed) == lines
