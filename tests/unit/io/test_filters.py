"""Kernel filters: the expression that copy captures with, and what libpcap says of wrong ones."""

from __future__ import annotations

import pytest

from copytool.errors import ConfigError
from copytool.io.bpf import compile_filter
from copytool.io.copy_daemon import capture_filter

TARGET = (bytes([192, 168, 50, 101]), 1025)


def test_capture_filter_names_every_mapped_service() -> None:
    """Ports of any address, and address-port pairs of both families, are alternatives."""
    targets = {
        (None, 1025): TARGET,
        (bytes([10, 0, 0, 1]), 80): TARGET,
        (bytes.fromhex("fd00" + "0" * 27 + "1"), 443): TARGET,
    }
    assert capture_filter(targets) == (
        "tcp and (dst port 1025 or (dst host 10.0.0.1 and dst port 80) or (dst host fd00::1 and dst port 443))"
    )


def test_filters_compile_to_whole_instructions() -> None:
    """Both daemons' filters become BPF that ends by keeping the snapshot length or nothing."""
    for expression in (capture_filter({(None, 1025): TARGET}), "tcp and src port 1025"):
        code = compile_filter(expression, 128)
        assert len(code) % 8 == 0
        returned = {int.from_bytes(code[i + 4 : i + 8], "little") for i in range(0, len(code), 8) if code[i] == 0x06}
        assert returned == {0, 128}


def test_wrong_filter_is_shown_with_libpcaps_reason() -> None:
    """The expression and the reason are in the message."""
    with pytest.raises(ConfigError, match=r"filter 'tcp port' does not compile: .*syntax"):
        compile_filter("tcp port", 128)
