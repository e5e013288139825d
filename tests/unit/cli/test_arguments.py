"""Arguments and configuration file: seed commands, precedence, and one line for each mistake."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path

import pytest

from copytool.cli.arguments import COMMANDS, parse_arguments
from copytool.cli.main import main
from copytool.cli.settings import copy_settings, intercept_settings
from copytool.errors import ConfigError
from copytool.io.control import ControlServer
from copytool.io.loop import EventLoop
from copytool.io.settings import TlsFiles

COPY = ["copy", "--plain", "-x", "1025-192.168.50.101:1025", "-s", "192.168.50.102", "-c", "192.168.60.x"]
INTERCEPT = ["intercept", "--plain", "-i", "ens18", "-F", "tcp and src port 1025"]


def test_documented_copy_command() -> None:
    """The command of the manual gives the settings it promises, defaults included."""
    settings = copy_settings(parse_arguments([*COPY, "-r", "20", "-n", "2"])[1])
    assert settings.intercepts == [("192.168.50.102", 36524)]
    assert settings.client_ranges == [(bytes([192, 168, 60, 1]), 254)]
    assert settings.interfaces == [""]
    assert (settings.mirror.ratio_percent, settings.mirror.copies) == (20.0, 2)


def test_documented_intercept_command() -> None:
    """The command of the manual listens on the documented port of every address."""
    settings = intercept_settings(parse_arguments(INTERCEPT)[1])
    assert (settings.interfaces, settings.filter) == (["ens18"], "tcp and src port 1025")
    assert (settings.bind, settings.port) == ("0.0.0.0", 36524)


def test_lists_take_repetition_and_commas() -> None:
    """-s a,b and -s a -s b mean the same; -p is the port where -s gives none."""
    once = parse_arguments([*COPY, "-s", "10.0.0.1:5,10.0.0.2", "-p", "7"])[1]
    assert copy_settings(once).intercepts == [("192.168.50.102", 7), ("10.0.0.1", 5), ("10.0.0.2", 7)]


def test_flags_win_over_the_file(tmp_path: Path) -> None:
    """The file gives what the flags do not; numbers and lists may be TOML numbers and lists."""
    config = tmp_path / "copy.toml"
    config.write_text(
        '[copy]\nmap = ["80-10.0.0.1:80", "81-10.0.0.1:81"]\nintercept = "10.0.0.2"\n'
        'client_network = ["10.60.0.0/24"]\nratio = 2.5\ncopies = 3\ndaemon = true\nplain = true\n'
    )
    values = parse_arguments(["copy", "--config", str(config), "-n", "4"])[1]
    settings = copy_settings(values)
    assert len(settings.targets) == 2
    assert (settings.mirror.ratio_percent, settings.mirror.copies, values["daemon"]) == (2.5, 4, True)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[copy]\nratoi = 5\n", "unknown key 'ratoi'; known: "),
        ("[copy]\nratio = 500\n", "[copy] ratio: '500' is not a number above 0 and up to 100"),
        ("[copy]\nratio = [1]\n", "[copy] ratio: ['1'] has the wrong type"),
        ('[copy]\ndaemon = "yes"\n', "[copy] daemon: 'yes' is not true or false"),
        ("[intercept]\n", "it has no table [copy]"),
        ("[copy\n", "not TOML"),
    ],
)
def test_bad_configuration_files(tmp_path: Path, text: str, reason: str) -> None:
    """A mistake in the file is named with file, key and value."""
    config = tmp_path / "copy.toml"
    config.write_text(text)
    with pytest.raises(ConfigError) as error:
        parse_arguments(["copy", "-C", str(config)])
    assert reason in str(error.value)
    assert str(config) in str(error.value)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["copy", "-x", "80"], "-x (--map): '80' is not"),
        (COPY[:-2], "-c (--client-network) is missing"),
        (["copy", *COPY[4:]], "-x (--map) is missing"),
        ([*COPY[:4], *COPY[6:]], "-s (--intercept) is missing"),
        ([*COPY, "-r", "101"], "-r (--ratio): '101' is not a number"),
        ([*COPY, "--cpu-limit", "0"], "--cpu-limit: '0' is not a number above 0 and up to 100000"),
        ([*COPY, "--memory-limit", "1.5"], "--memory-limit: '1.5' is not a whole number in 1..1048576"),
        ([*COPY, "--bandwidth-limit", "-1"], "--bandwidth-limit: '-1' is not a number from 0.01 to"),
        ([*COPY, "-n", "0"], "-n (--copies): '0' is not a whole number in 1..1024"),
        ([*COPY, "--keep-client-addresses"], "exclude each other"),
        (
            [*COPY[:-2], "--keep-client-addresses", "--allow-local-target"],
            "--allow-local-target and --keep-client-addresses exclude each other",
        ),
        ([*COPY[:-1], "192.168.50.0/24"], "target 192.168.50.101 is inside it"),
        ([*COPY[:-1], "fd60::/64"], "-c has no IPv4 address"),
        (
            [*COPY, "-x", "192.168.50.101:1025-10.0.0.1:1025"],
            "192.168.50.101 port 1025 is both a target and an online service",
        ),
        ([*COPY, "-x", "10.0.0.1:80-10.0.0.1:80"], "10.0.0.1 port 80 is both a target and an online service"),
        (
            [*COPY, "--upstreams", "10.0.0.0/8,192.168.50.96/28"],
            "target 192.168.50.101 port 1025 is one of --upstreams (192.168.50.96/28)",
        ),
        ([*COPY, "--frobnicate"], "unrecognized arguments: --frobnicate"),
        (["copy", "-C", "/nonexistent.toml"], "'/nonexistent.toml': No such file"),
        (["intercept", "-i", "ens18"], "-F (--filter) is missing"),
        (["intercept", "-F", "tcp"], "-i (--interface) is missing"),
        (["exporter", "--listen", "9524"], "--listen: '9524' is not address:port, like 127.0.0.1:9524 or [::1]:9524"),
        (["exporter", "--listen", "localhost:1"], "--listen: 'localhost:1' is not address:port"),
        (["exporter", "--listen", "127.0.0.1:65536"], "is not address:port"),
        (
            ["exporter", "--listen", "8.8.8.8:9524"],
            "--listen: 8.8.8.8 may be reached from anywhere; say --allow-public",
        ),
        (["exporter", "--listen", "[::]:9524"], "--listen: :: may be reached from anywhere"),
        ([*INTERCEPT, "-b", "127.0.0.1:80"], "-b (--bind): one address without a port"),
        ([*INTERCEPT, "-p", "70000"], "-p (--port): '70000'"),
        (
            ["copy", *COPY[2:]],
            "--tls-cert is missing: the link needs --tls-cert and --tls-ca, at both ends, to be encrypted",
        ),
        (["intercept", *INTERCEPT[2:], "--tls-cert", "x"], "--tls-ca is missing"),
        ([*INTERCEPT, "--tls-ca", "x"], "--plain and --tls-cert, --tls-key, --tls-ca exclude each other"),
        ([*INTERCEPT, "--peers", "online=192.168.60.x"], "--peers goes by the copies' certificates"),
        ([*INTERCEPT, "--peers", "online"], "--peers: 'online' is not name=network"),
        ([*INTERCEPT, "--peers", "online=10.0.0.1/8"], "did you mean 10.0.0.0/8?"),
        ([], "see `copytool --help`"),
        (["mirror"], "see `copytool --help`"),
    ],
)
def test_mistakes_get_one_line_and_status_2(
    arguments: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every wrong or missing value ends at start, with one line on stderr and the usage status."""
    assert main(arguments) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert len(output.err.splitlines()) == 1
    assert output.err.startswith("copytool: ")
    assert reason in output.err


def test_what_the_link_is_encrypted_with() -> None:
    """The key may be in the certificate's file; a dry run has no link, so it needs neither."""
    files = ["--tls-cert", "/a.pem", "--tls-ca", "/ca.pem"]
    own = Path("/a.pem")
    assert copy_settings(parse_arguments(["copy", *COPY[2:], *files])[1]).tls == TlsFiles(own, own, Path("/ca.pem"))
    apart = intercept_settings(parse_arguments(["intercept", *INTERCEPT[2:], *files, "--tls-key", "/k.pem"])[1])
    assert apart.tls == TlsFiles(own, Path("/k.pem"), Path("/ca.pem"))
    assert copy_settings(parse_arguments(["copy", *COPY[2:], "--dry-run"])[1]).tls is None


def test_which_networks_a_copy_may_have() -> None:
    """Those of one name add up, and two halves are the whole."""
    peers = "a=192.168.60.0/25,b=fd60::/64,a=192.168.60.128/25,b=10.1.0.x"
    files = ["--tls-cert", "/a.pem", "--tls-ca", "/ca.pem", "--peers", peers]
    settings = intercept_settings(parse_arguments(["intercept", *INTERCEPT[2:], *files])[1])
    assert settings.peers == {
        "a": [ip_network("192.168.60.0/24")],
        "b": [ip_network("10.1.0.0/24"), ip_network("fd60::/64")],
    }


def test_nobody_may_have_any_network(tmp_path: Path) -> None:
    """An empty list, which is not the same as none; and all addresses for a copy that keeps its clients'."""
    config = tmp_path / "intercept.toml"
    config.write_text('[intercept]\ninterface = "lo"\nfilter = "tcp"\ntls_cert = "/a"\ntls_ca = "/b"\npeers = []\n')
    assert intercept_settings(parse_arguments(["intercept", "-C", str(config)])[1]).peers == {}
    config.write_text(config.read_text().replace("[]", '["a=0.0.0.0/0", "a=::/0"]'))
    settings = intercept_settings(parse_arguments(["intercept", "-C", str(config)])[1])
    assert settings.peers == {"a": [ip_network("0.0.0.0/0"), ip_network("::/0")]}


def test_relative_paths_are_where_the_command_was_given() -> None:
    """-d changes the directory later; that must not move the files."""
    values = parse_arguments([*INTERCEPT, "-P", "pid", "-l", "./log", "--control-socket", "run/x.sock"])[1]
    here = Path.cwd()
    assert (values["pid_file"], values["log_file"]) == (here / "pid", here / "log")
    assert intercept_settings(values).control_socket == here / "run/x.sock"


@pytest.mark.parametrize(
    ("given", "bind"), [("::", "::"), ("[::]", "::"), ("fd50::102", "fd50::102"), ("127.0.0.1", "127.0.0.1")]
)
def test_bind_takes_any_address(given: str, bind: str) -> None:
    """It has no port, so an IPv6 address needs no brackets."""
    assert intercept_settings(parse_arguments([*INTERCEPT, "-b", given])[1]).bind == bind


def test_keeping_client_addresses_must_be_said() -> None:
    """Without -c the switch is needed, and then every address belongs to this copy."""
    settings = copy_settings(parse_arguments([*COPY[:-2], "--keep-client-addresses"])[1])
    assert settings.client_ranges == []
    assert [str(network) for network in settings.client_networks] == ["0.0.0.0/0", "::/0"]


def test_version_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    """--version and --help answer on stdout with status 0; the help shows every option and the exit statuses."""
    for arguments in (
        ["--version"],
        ["--help"],
        ["copy", "--help"],
        ["intercept", "--help"],
        ["forward", "--help"],
        ["status", "--help"],
    ):
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert ended.value.code == 0
        output = capsys.readouterr().out
        if arguments == ["--version"]:
            assert re.fullmatch(r"copytool \d+\.\d+\.\d+ \((compiled|pure), \w+ 3\.\d+\.\d+\)\n", output)
        else:
            assert "exit status:" in output
            for option in COMMANDS.get(arguments[0], ()):
                assert f"--{option.long}" in output


def test_status_without_daemon(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Asking a daemon that does not run says so, with the host status."""
    assert main(["status", "--control-socket", str(tmp_path / "none.sock")]) == 3
    assert "is it started" in capsys.readouterr().err


def test_status_that_cannot_be_printed(loop_status: Path) -> None:
    """A full disk under stdout gets one line and the host status."""
    words = [sys.executable, "-m", "copytool", "status", "--control-socket", str(loop_status)]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, text=True, timeout=30, check=False)
    assert (done.returncode, done.stderr) == (3, "copytool: cannot write to stdout: No space left on device\n")


@pytest.fixture
def loop_status(tmp_path: Path) -> Iterator[Path]:
    """A control socket that answers once."""
    path = tmp_path / "control.sock"
    document = {
        "role": "intercept", "version": "1", "flavour": "pure", "link": [], "responses": {"packets": 0, "records": 0},
        "capture": {"packets": 0, "drops": 0, "problems": {}},
        "certificate": None, "refused_links": 0, "no_descriptor_left": 0, "internal_errors": 0,
    }  # fmt: skip
    loop = EventLoop()
    server = ControlServer(loop, path, {"status": lambda _request: loop.stop() or document})  # type: ignore[func-returns-value]
    thread = threading.Thread(target=loop.run, daemon=True)
    thread.start()
    yield path
    thread.join(30)
    server.close()
    loop.close()
