"""What an installation brought."""

from __future__ import annotations

from support.loading import load

more = load("recorded_packages/filter_plugins/recorded_packages.py").FilterModule().filters()["recorded_packages_more"]

BEFORE = "package a\npackage libc6\nuser root\ngroup root\n"
AFTER = "package a\npackage libc6\npackage prometheus\npackage libjs\nuser root\nuser prometheus\ngroup root\n"


def test_only_what_was_not_there_is_recorded() -> None:
    assert more(AFTER, BEFORE, {}) == {"package": ["libjs", "prometheus"], "user": ["prometheus"], "group": []}
    assert more(BEFORE, BEFORE, {}) == {"package": [], "user": [], "group": []}


def test_an_earlier_record_stays() -> None:
    """A package that is missing again is installed again; the others are still ours."""
    earlier = {"package": ["libpcap0.8"], "user": [], "group": ["prometheus"]}
    found = more(AFTER, BEFORE, earlier)
    assert found["package"] == ["libjs", "libpcap0.8", "prometheus"]
    assert found["group"] == ["prometheus"]


def test_what_went_meanwhile_is_not_ours() -> None:
    assert more(BEFORE, AFTER, {})["package"] == []
