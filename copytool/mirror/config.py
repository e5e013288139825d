"""Limits and timing of the mirror engine; every limit is named here once."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["MirrorConfig"]

_MIB = 1024 * 1024


@dataclass(frozen=True)
class MirrorConfig:
    """How the engine mirrors. Times in seconds, sizes in bytes."""

    copies: int = 1
    """Mirror sessions per client connection."""

    ratio_percent: float = 100.0
    """Share of client connections that are mirrored."""

    dry_run: bool = False
    """Whether connections are only looked at and counted."""

    paused: bool = False
    """Whether no new connections are mirrored, to begin with."""

    hold_limit_s: float = 5.0
    """Longest wait for a response of the target before the next turn is released without it."""

    quiet_min_s: float = 0.01
    quiet_max_s: float = 1.0
    """Bounds of the adaptive silence after which a response of other length counts as complete."""

    quiet_first_s: float = 0.3
    """The lower bound as long as little is known of how a target answers, and where an answer that is shorter than
    online's would be the first one: common stacks send what was lost again after 200 ms."""

    gap_timeout_s: float = 30.0
    """How long a hole in the captured client stream may stay open; the client's own retransmission may fill it."""

    check_after_s: float = 5.0
    """Silence of a client after which the online host's kernel is asked whether the connection still exists."""

    join_midstream: bool = False
    """Whether connections that were open before copy started are joined where a request begins."""

    join_quiet_s: float = 0.01
    """Silence of a client that shows, with an answer it has read, that what it sends next begins a request."""

    idle_timeout_s: float = 7200.0
    """Silence after which a session is given up."""

    close_timeout_s: float = 60.0
    """How long a fully delivered session that the client closed waits for the target's next octet or FIN; it waits on
    while the online host's kernel has the connection."""

    max_sessions: int = 100_000
    """Concurrent mirror sessions; further ones are shed."""

    session_buffer_bytes: int = 64 * _MIB
    """Client bytes held for one session (waiting for release, the target's window or acknowledgement)."""

    total_buffer_bytes: int = 512 * _MIB
    """Client bytes held for all sessions together."""

    syn_retries: int = 3
    data_retries: int = 8
    """Retransmissions of one segment before the target counts as unreachable or stalled."""

    mtu_bytes: int = 1500
    """Largest IP packet to a target; the route's MTU, the target's MSS and what is learnt of the path may lower it."""

    delayed_ack_s: float = 0.01
    """How long an acknowledgement may wait for client data to ride on."""
