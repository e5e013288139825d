"""Where a copy's packets come from decides what its rings show, and whether it has any."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from copytool.io import sources
from copytool.io.capture_filter import CaptureFilter, TunnelFilter
from copytool.io.feeding import OWN, SPAN, TUNNELS
from copytool.io.settings import CopySettings, Feed
from copytool.io.sources import BLOCK_BYTES, make_filter, open_rings

MIB = 1 << 20
SERVICE, TARGET = (bytes((192, 168, 50, 10)), 1025), (bytes((192, 168, 50, 101)), 1025)


def settings(kind: str, **fields: Any) -> CopySettings:
    return CopySettings(
        targets={SERVICE: TARGET},
        intercepts=[],
        client_networks=[],
        client_ranges=[],
        control_socket=Path("control.sock"),
        feed=Feed(kind, vxlan_port=8472),
        **fields,
    )


@pytest.mark.parametrize("kind", ["own", "span", "forward"])
def test_the_kernel_chooses_by_service(kind: str) -> None:
    """Also on a mirror port, which shows the whole network's packets."""
    made = make_filter(settings(kind))
    assert isinstance(made, CaptureFilter)
    assert made.widest == CaptureFilter([SERVICE], []).widest


def test_the_kernel_cannot_choose_what_is_inside_of_tunnels() -> None:
    """All that carries one comes up."""
    made = make_filter(settings("tunnel"))
    assert isinstance(made, TunnelFilter)
    assert made.code(1.0) == TunnelFilter(8472).widest != TunnelFilter(4789).widest


@pytest.mark.parametrize(("kind", "intake"), [("own", OWN), ("span", SPAN), ("tunnel", TUNNELS)])
def test_a_ring_on_each_interface(monkeypatch: pytest.MonkeyPatch, kind: str, intake: int) -> None:
    """Of the size that was asked for, by one filter."""
    opened: list[tuple[Any, ...]] = []
    monkeypatch.setattr(sources, "BlockRing", lambda *arguments: opened.append(arguments))
    open_rings(settings(kind, interfaces=["a", "b"], ring_bytes=8 * MIB), b"code")
    blocks = 8 * MIB // BLOCK_BYTES
    assert opened == [(name, b"code", BLOCK_BYTES, blocks, intake, 8472) for name in ("a", "b")]


def test_packets_that_come_through_links_need_no_ring() -> None:
    """Nor a right to one."""
    assert open_rings(settings("forward", interfaces=[""]), b"code") == []
