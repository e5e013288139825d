"""The payload limit of a path: from the route, and learnt from what vanishes."""

from __future__ import annotations

from copytool.mirror.path import PathLimit


def test_route_and_configuration_bound_the_payload() -> None:
    """The smaller MTU counts, without the headers."""
    path = PathLimit(40, 1500)
    assert path.payload_bytes == 1460
    path.set_route(9000, 0.0)
    assert path.payload_bytes == 1460
    path.set_route(1400, 0.0)
    assert path.payload_bytes == 1360


def test_sizes_to_try() -> None:
    """Each is the next smaller common MTU; below the smallest there is none."""
    path = PathLimit(60, 1500)
    sizes = [path.payload_bytes]
    while path.smaller(sizes[-1]) < sizes[-1]:
        sizes.append(path.smaller(sizes[-1]))
    assert sizes == [1440, 1340, 1220, 964, 516]


def test_what_happens_once_may_be_an_outage() -> None:
    """Only a packet sent after a smaller one arrived, and not long after, says that larger ones vanish."""
    path = PathLimit(40, 1500)
    path.suspect(1240, 10.0, 20.0)
    path.suspect(1240, 11.0, 21.0)
    path.suspect(1240, 300.0, 301.0)
    assert path.payload_bytes == 1460
    path.suspect(1240, 302.0, 303.0)
    assert path.payload_bytes == 1240


def test_what_this_host_did_not_send_says_nothing() -> None:
    """Packets fell victim to a limit of its own while these failed; later ones count again."""
    path = PathLimit(40, 1500)
    path.note_own_drops(20.5)
    for number in range(5):
        path.suspect(1240, 15.0 + number, 21.0 + number)
    assert path.payload_bytes == 1460
    path.suspect(1240, 26.0, 27.0)
    path.suspect(1240, 28.0, 29.0)
    assert path.payload_bytes == 1240


def test_sessions_that_fail_at_the_same_time_do_not_hide_it() -> None:
    """An upload begins every 50 ms, and the smaller form of each one's first segment arrives after 650 ms."""
    path = PathLimit(40, 1500)
    for number in range(40):
        path.suspect(1360, number * 0.05, number * 0.05 + 0.65)
    assert path.payload_bytes == 1360


def test_what_was_learnt_is_kept_for_ten_minutes() -> None:
    """The route's MTU does not undo it before; afterwards the larger size is tried again."""
    path = PathLimit(40, 1500)
    path.suspect(1240, 98.0, 99.0)
    path.suspect(1240, 99.0, 100.0)
    path.set_route(1500, 600.0)
    assert path.payload_bytes == 1240
    path.set_route(1000, 601.0)
    assert path.payload_bytes == 960
    path.set_route(1500, 700.0)
    assert path.payload_bytes == 1460
