"""Kernel filters: what libpcap makes of expressions and says of wrong ones, and what the kernel takes."""

from __future__ import annotations

import pytest

from copytool.errors import ConfigError
from copytool.io.bpf import can_attach, compile_filter


def test_filters_compile_to_whole_instructions() -> None:
    """A filter becomes BPF that ends by keeping the snapshot length or nothing."""
    code = compile_filter("tcp and src port 1025", 128)
    assert len(code) % 8 == 0
    returned = {int.from_bytes(code[i + 4 : i + 8], "little") for i in range(0, len(code), 8) if code[i] == 0x06}
    assert returned == {0, 128}


def test_filters_that_are_too_long_are_known() -> None:
    """The kernel takes 4096 instructions."""
    keep = bytes([0x06, 0, 0, 0, 1, 0, 0, 0])
    assert can_attach(keep * 4096)
    assert not can_attach(keep * 4097)
    assert not can_attach(bytes([0xFF] * 8))


def test_wrong_filter_is_shown_with_libpcaps_reason() -> None:
    """The expression and the reason are in the message."""
    with pytest.raises(ConfigError, match=r"filter 'tcp port' does not compile: .*syntax"):
        compile_filter("tcp port", 128)
