"""Memory of this process, and buffers that fit into a limit."""

from __future__ import annotations

from dataclasses import replace

import pytest

from copytool.cli.arguments import parse_arguments
from copytool.cli.settings import copy_settings
from copytool.errors import ConfigError
from copytool.io.memory import fit_buffers, release_free_memory, resident_bytes
from copytool.io.settings import CopySettings

_MIB = 1 << 20


def settings(*options: str) -> CopySettings:
    """Return the settings of a copy with these options."""
    words = ["copy", "--plain", "-x", "1025-10.0.0.1:1025", "-s", "10.0.0.2", "-c", "192.168.60.x", *options]
    return copy_settings(parse_arguments(words)[1])


def test_resident_memory_grows_and_is_given_back() -> None:
    """As the kernel counts it."""
    before = resident_bytes()
    held = [bytes(100_000) + bytes([number & 255]) for number in range(500)]
    assert resident_bytes() - before > 30 * _MIB
    held.clear()
    release_free_memory()
    assert resident_bytes() - before < 20 * _MIB


def test_buffers_stay_as_they_are_without_a_limit_or_with_a_high_one() -> None:
    """And become smaller with a low one, but not larger than what was asked for."""
    assert fit_buffers(settings(), 100 * _MIB) == settings().mirror
    assert fit_buffers(settings("--memory-limit", "4000"), 100 * _MIB) == settings().mirror
    fitted = fit_buffers(settings("--memory-limit", "200"), 100 * _MIB)
    assert fitted.total_buffer_bytes == fitted.session_buffer_bytes == 26 * _MIB
    fitted = fit_buffers(settings("--memory-limit", "200", "--session-buffer", "3"), 100 * _MIB)
    assert (fitted.total_buffer_bytes, fitted.session_buffer_bytes) == (26 * _MIB, 3 * _MIB)


def test_a_limit_that_leaves_no_room() -> None:
    """The message says what is needed, and what of it the rings take; and the limit that it names is enough."""
    with pytest.raises(ConfigError, match=r"leaves 120 MiB, and 160 are needed: 100 are in use .*, 64 of them for cap"):
        fit_buffers(settings("--memory-limit", "120"), 100 * _MIB)
    assert fit_buffers(settings("--memory-limit", "160"), 100 * _MIB).total_buffer_bytes >= 8 * _MIB
    several = replace(settings("--memory-limit", "120", "--ring-size", "8", "-i", "eth0,eth1"), workers=2)
    with pytest.raises(ConfigError, match=r"leaves 120 MiB for each of 2 workers.* 16 of them for capture rings"):
        fit_buffers(several, 100 * _MIB)
