"""Outcomes: the one word that says how a session's mirroring ended."""

from __future__ import annotations

__all__ = ["ACTIVE", "OUTCOMES"]

ACTIVE = "active"

OUTCOMES = {
    ACTIVE: "being mirrored now",
    "mirrored": "the target acknowledged every byte the client sent, and saw it open and close alike",
    "sampled_out": "not in the -r sample",
    "filtered": "the client is not one of --clients",
    "dry_run": "would have been mirrored without --dry-run",
    "paused": "came while mirroring was paused",
    "midstream_skipped": "was open before copy started, or its SYN was not captured",
    "no_feedback": "no intercept link, so the target's answers could not be seen",
    "capture_gap": "part of what the client sent was not captured; the target got an RST",
    "target_refused": "the target answered the SYN with RST",
    "target_unreachable": "the target never answered the SYN",
    "target_reset": "the target reset the open session",
    "target_closed_early": "the target closed while the client still had bytes to send",
    "target_stalled": "the target stopped acknowledging",
    "idle_timeout": "neither side sent anything for the idle time-out",
    "shed_budget": "as many sessions as --max-sessions allows were open",
    "shed_cpu": "copy used more than --cpu-limit",
    "shed_memory": "a buffer limit or --memory-limit was reached",
    "shed_bandwidth": "copy sent more than --bandwidth-limit",
    "no_address": "no free address and port in the client network",
    "aborted": "copy was stopped, or an internal error kept it from going on with this session",
}
"""Every outcome with its meaning. A session has exactly one at any time, so seen == sum(outcomes)."""
