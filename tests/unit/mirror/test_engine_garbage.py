"""Ended sessions are freed at once: the daemons look for reference cycles hardly ever."""

from __future__ import annotations

import gc

from copytool.wire.segment import ACK, PSH

from .playbook import Scene


def _a_session_of_each_end() -> list[Scene]:
    scenes = []
    for end in ("whole", "client resets", "target resets", "refused", "never accepted", "silent target", "capture gap"):
        scene = Scene()
        client = scene.client().opens().says(b"abc")
        if end != "never accepted":
            target = scene.target()
            target.refuses() if end == "refused" else target.accepts().answers(10, 4)
        if end == "whole":
            client.fin(10)
            target.fin(4).acks(5)
        elif end == "client resets":
            client.rst(seen=10)
        elif end == "target resets":
            target.rst(10)
        elif end == "silent target":
            client.says(b"def", 10)
        elif end == "capture gap":
            client.segment(ACK | PSH, client.position + 5, b"def")
        scenes.append(scene.passes(1000))
    return scenes


def test_ended_sessions_leave_no_cycles() -> None:
    """Whatever their end, nothing of copytool's is found that only refers to itself."""
    gc.collect()
    gc.disable()
    try:
        scenes = _a_session_of_each_end()
        ended = [scene.outcomes() for scene in scenes]
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        cyclic = [type(thing) for thing in gc.garbage if type(thing).__module__.startswith("copytool")]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
    assert len({str(outcomes) for outcomes in ended}) >= 5
    assert not any("active" in outcomes for outcomes in ended)
    assert not cyclic
