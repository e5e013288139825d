"""What a user gives: the command line and the configuration file, up to the settings of the daemons."""

from __future__ import annotations

import contextlib
import functools
import io
import os
import socket
from collections.abc import Hashable, Iterator, Sequence
from random import Random
from typing import Any
from unittest import mock

from copytool.cli import arguments, values
from copytool.cli.settings import copy_settings, intercept_settings
from copytool.errors import ConfigError, CopytoolError
from copytool.io.settings import CopySettings
from copytool.io.shares import split_settings
from copytool.link.share import MAX_TARGETS

from ..mutation import below, mutate_octets
from ..target import Target

__all__ = ["TARGETS"]

_COMMANDS = ("copy", "intercept", "exporter")
_parser = functools.cache(arguments._parser)  # it takes a millisecond to make


def _getaddrinfo(host: str, port: Any, **options: Any) -> Any:
    """Resolve numbers only: no name server hears of hostile names."""
    return socket.getaddrinfo(host, port, flags=socket.AI_NUMERICHOST, **options)


@contextlib.contextmanager
def _apart() -> Iterator[None]:
    """Keep names, and what is printed, to ourselves."""
    resolver = mock.Mock(getaddrinfo=_getaddrinfo, SOCK_STREAM=socket.SOCK_STREAM)
    with (
        mock.patch.object(values, "socket", resolver),
        mock.patch.object(arguments, "_parser", _parser),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        yield


def _settings(command: str, parsed: dict[str, Any]) -> Hashable:
    """Make what the daemon would be started with; it is within its bounds."""
    if command == "copy":
        settings = copy_settings(parsed)
        _check_copy(settings)
        if settings.workers > 1:
            for share in split_settings(settings):
                _check_copy(share)
        return "copy", len(settings.targets), settings.workers > 1
    if command == "intercept":
        settings = intercept_settings(parsed)
        assert 0 < settings.port < 65536 and settings.interfaces and "\0" not in settings.filter
        assert all("\0" not in name and len(os.fsencode(name)) <= 15 for name in settings.interfaces), (
            "no interface name"
        )
        return "intercept"
    return command, tuple(sorted(key for key, value in parsed.items() if value))


def _check_copy(settings: CopySettings) -> None:
    mirror = settings.mirror
    assert 1 <= len(settings.targets) <= MAX_TARGETS
    for (online, port), (target, target_port) in settings.targets.items():
        assert (online is None or len(online) in (4, 16)) and len(target) in (4, 16)
        assert 0 < port < 65536 and 0 < target_port < 65536
    assert all(0 < port < 65536 for _, port in settings.intercepts) and settings.intercepts
    assert 0 < mirror.ratio_percent <= 100 and 1 <= mirror.copies <= 1024
    assert 576 <= mirror.mtu_bytes <= 65535 and mirror.max_sessions >= 1 and settings.ring_bytes >= 1 << 17
    assert all("\0" not in name and len(os.fsencode(name)) <= 15 for name in settings.interfaces), "no interface name"
    for network in settings.client_networks:
        assert str(network).isprintable()


class _File:
    """A TOML file; the first octet says for which command."""

    def __init__(self) -> None:
        self._file = os.memfd_create("config")
        self._path = f"/proc/self/fd/{self._file}"

    def __call__(self, data: bytes) -> Hashable:
        command = _COMMANDS[(data[0] if data else 0) % len(_COMMANDS)]
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, data[1:], 0)
        try:
            with _apart():
                return _settings(*arguments.parse_arguments([command, "--config", self._path]))
        except ConfigError as error:
            return str(error).replace(self._path, "")[:24]

    def finish(self) -> None:
        """Give the file up."""
        os.close(self._file)


class _CommandLine:
    """Arguments, with a zero octet between them as in /proc/PID/cmdline."""

    def __call__(self, data: bytes) -> Hashable:
        words = [os.fsdecode(word) for word in data.split(b"\0")]
        if any(word.startswith(("-C", "--config")) for word in words):
            return None
        try:
            with _apart():
                return _settings(*arguments.parse_arguments(words))
        except CopytoolError as error:
            assert isinstance(error, ConfigError)
            return str(error)[:24]
        except SystemExit as error:
            assert not error.code and any(word.startswith(("-", "--")) for word in words)
            return "help"

    def finish(self) -> None:
        """Nothing is left of it."""


_ARGUMENTS: Sequence[str] = (
    "copy -x 1025-192.168.50.101:1025 -s 192.168.50.102 -c 192.168.60.x",
    "copy -x 10.0.0.1:80-10.0.0.9:8080,[fd00::1]:80-[fd00::9]:80 -s 10.0.0.3:1,[fd00::3]:2 -c 10.9.0.0/16,fd60::/64",
    "copy -x 1-10.0.0.9:1 -s 10.0.0.3 --keep-client-addresses -r 0.5 -n 3 -O -i eth0,lo --hold-limit 1 --mtu 1400",
    "copy -x 1-10.0.0.9:1 -s 10.0.0.3 -c 10.9.0.x,10.8.0.1 --workers 4 --clients 10.0.0.0/8 --upstreams 10.7.0.1",
    "copy -x 1-10.0.0.9:1 -s 10.0.0.3 -c 10.9.0.x --dry-run --join-midstream --log-level debug -d -P /a -l /b",
    "intercept -i any -F tcp -b fd00::1 -p 99",
    "exporter --listen [::1]:9524 --allow-public --copy-socket /a",
    "status copy --json --sessions 5 --watch 2",
    "ratio 5% ramp 10m",
    "copies 3",
    "drain --timeout 1.5h",
    "log-level debug intercept",
    "pause --control-socket /a",
    "copy --help",
    "--version",
)
_FILES = (
    b'\0[copy]\nmap = ["1025-192.168.50.101:1025"]\nintercept = ["192.168.50.102"]\nclient_network = ["192.168.60.x"]\n'
    b"ratio = 20\n",
    b'\0[copy]\nmap = "80-[fd00::9]:8080"\nintercept = "[fd00::3]:1"\nclient_network = "fd60::/64"\n'
    b"copies = 2\ndry_run = true\n"
    b'hold_limit = 0.5\nworkers = 2\nclients = ["10.0.0.0/8", "fd00::/8"]\ninterface = ["eth0"]\n'
    b'mtu = 0x5dc\nlog_level = "info"\n',
    b'\1[intercept]\ninterface = "any"\nfilter = """tcp and\nsrc port 1025"""\nbind = \'10.0.0.1\'\nport = 36_524\n',
    b'\2[exporter]\nlisten = "127.0.0.1:9524"\nallow_public = false\nlog_file = "/x"\n',
    b"\0[copy]\nratio = 2026-01-01T00:00:00Z\n",
    b"\0[copy.map]\na = {b = [1, [2, {c = 3}]]}\n[[copy.map]]\n",
)
_WORDS = (
    b"=", b"[", b"]", b"[[", b'"""', b"'''", b"\\u0000", b"\\ud800", b"\\U00110000", b"0x" + b"f" * 40, b"1e999",
    b"-inf", b"nan",
    b"9" * 30, b"07:60:00", b"1979-05-27T07:32:00-99:99", b"{", b"}", b",", b".", b"#", b"\n", b"true", b"[" * 30,
    b"192.168.60.x",
    b"0.0.0.0/0", b"::/0", b"fe80::1%lo", b"10.0.0.1/8", b"-", b":", b"%", b"/", b"..", b"\xc3\xa9",
    b"\xf0\x9f\x98\x80", b"\xff",
    b"65536", b"0", b"-1", b"+1", b"1_0", "\u0663".encode(), b"any", b"auto", b" ", b"[::1]", b"256.1.1.1", b"1.2.3",
    b"x" * 70,
)  # fmt: skip
_FLAGS = tuple(
    flag.encode()
    for options in arguments.COMMANDS.values()
    for option in options
    for flag in (f"--{option.long}", f"-{option.short or 'x'}")
)


def _mutate_file(data: bytes, random: Random) -> bytes:
    made = bytearray(data)
    for _ in range(1 + below(random, 4)):
        mutate_octets(made, random, _WORDS)
    if random.random() < 0.01:
        at = made.find(b"=", below(random, len(made) + 1)) + 1
        made[at:at] = (b"[" * 3000, b"9" * 5000, b"{a=" * 3000, b"0x" + b"f" * 5000, b"9." * 4000)[below(random, 5)]
    return bytes(made)


def _mutate_arguments(data: bytes, random: Random) -> bytes:
    words = [bytearray(word) for word in data.split(b"\0")]
    for _ in range(1 + below(random, 3)):
        at = below(random, len(words))
        kind = below(random, 8)
        if kind < 4:
            mutate_octets(words[at], random, _WORDS)
        elif kind == 4 and len(words) > 1:
            del words[at]
        elif kind == 5:
            words.insert(at, bytearray(_FLAGS[below(random, len(_FLAGS))]))
        elif kind == 6:
            words[at] = bytearray(_WORDS[below(random, len(_WORDS))])
        else:
            words.append(bytearray(words[at]))
    if random.random() < 0.005:
        words[below(random, len(words))] += b"9" * 5000
    return b"\0".join([bytes(word.replace(b"\0", b"")) for word in words[:40]])


TARGETS = (
    Target(
        "config",
        "settings within their bounds, or ConfigError",
        _File,
        lambda: list(_FILES),
        _mutate_file,
        lives=10_000,
    ),
    Target(
        "arguments",
        "settings within their bounds, help, or ConfigError",
        _CommandLine,
        lambda: [line.replace(" ", "\0").encode() for line in _ARGUMENTS],
        _mutate_arguments,
        lives=10_000,
    ),
)
