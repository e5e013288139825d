"""The copytool role's own code: interfaces, TOML, wheelhouse keys."""

from __future__ import annotations

import hashlib
import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from hypothesis import given
from hypothesis import strategies as st
from support.loading import load

filters = load("copytool/filter_plugins/copytool.py").FilterModule().filters()
interfaces, toml_value = filters["copytool_interfaces"], filters["copytool_toml_value"]
load("copytool/module_utils/copytool_interpreter.py", "ansible.module_utils.copytool_interpreter")
wheelhouse = load("copytool/library/copytool_wheelhouse.py")

ONE = {
    "interfaces": ["lo", "ens18"],
    "lo": {"ipv4": {"address": "127.0.0.1"}},
    "ens18": {"ipv4": {"address": "10.0.0.5"}},
}
TWO = {
    **ONE,
    "interfaces": ["lo", "ens18", "br-lan"],
    "br_lan": {"ipv4_secondaries": [{"address": "10.1.0.5"}], "ipv6": [{"address": "fd00::5"}]},
}


@pytest.mark.parametrize(
    ("facts", "address", "found"),
    [
        (ONE, "", ["ens18"]),
        (TWO, "", []),
        (TWO, "10.0.0.5", ["ens18"]),
        (TWO, "10.1.0.5", ["br-lan"]),
        (TWO, "fd00::5", ["br-lan"]),
        (TWO, "10.2.0.5", []),
        ({**TWO, "default_ipv4": {"interface": "br-lan"}}, "", ["br-lan"]),
        ({**TWO, "default_ipv4": {"interface": "br-lan"}}, "0.0.0.0", ["br-lan"]),
        ({**TWO, "default_ipv4": {"interface": "br-lan"}}, "10.0.0.5", ["ens18"]),
        ({}, "", []),
    ],
)
def test_interface_to_capture_on(facts: dict[str, Any], address: str, found: list[str]) -> None:
    assert interfaces(facts, address) == found


scalars = (
    st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(0, 100, allow_subnormal=False).map(lambda number: round(number, 3))
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x7f"))
)


@given(scalars | st.lists(scalars))
def test_toml_reads_back_what_was_written(value: Any) -> None:
    assert tomllib.loads(f"key = {toml_value(value)}")["key"] == value


def test_toml_refuses_what_it_cannot_write() -> None:
    with pytest.raises(AnsibleFilterError, match="takes no dict"):
        toml_value({"a": 1})


@pytest.mark.parametrize(
    ("intercept", "mapping", "found"),
    [
        (["192.168.50.102"], ["1025-192.168.50.101:1025"], ["192.168.50.101", "192.168.50.102"]),
        ("192.168.50.102:9,fd50::1", "192.168.50.10:1-[fd00::1]:2, 3-[fd00::1]:3", []),
        ("[fd50::1]:9", "[fd50::a]:1-[fd00::1]:2, 3-10.0.0.1:3", ["10.0.0.1", "fd00::1", "fd50::1"]),
        (["assistant.example"], ["1-10.0.0.1:1"], []),
        (["10.0.0.2"], ["1-my-target-1:1"], []),
    ],
)
def test_addresses_that_copy_speaks_to(intercept: Any, mapping: Any, found: list[str]) -> None:
    """All of them or none: a name is known to the host only."""
    assert filters["copytool_far_ends"]({"intercept": intercept, "map": mapping}) == found


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    (tmp_path / "copytool" / "io").mkdir(parents=True)
    (tmp_path / "pyproject.toml").write_text("[project]\n")
    (tmp_path / "copytool" / "__init__.py").write_text("")
    (tmp_path / "copytool" / "io" / "ring.py").write_text("RING = 1\n")
    return tmp_path


def test_key_depends_on_sources_lock_and_host_only(sources: Path) -> None:
    key = wheelhouse.content_key(sources, "lock", "3.11 x86_64")
    (sources / "README.md").write_text("new")
    (sources / "copytool" / "io" / "ring.c").write_text("generated")
    assert wheelhouse.content_key(sources, "lock", "3.11 x86_64") == key
    assert wheelhouse.content_key(sources, "other lock", "3.11 x86_64") != key
    assert wheelhouse.content_key(sources, "lock", "3.13 x86_64") != key
    (sources / "copytool" / "io" / "ring.py").write_text("RING = 2\n")
    assert wheelhouse.content_key(sources, "lock", "3.11 x86_64") != key


def test_key_tells_contents_in_one_file_from_the_same_in_two(sources: Path) -> None:
    (sources / "copytool" / "a.py").write_text("one")
    (sources / "copytool" / "b.py").write_text("two")
    key = wheelhouse.content_key(sources, "", "")
    (sources / "copytool" / "a.py").write_text("onet")
    (sources / "copytool" / "b.py").write_text("wo")
    assert wheelhouse.content_key(sources, "", "") != key


def test_pins_are_the_locks_versions() -> None:
    lock = "# comment\npyroute2==0.9.6 \\\n    --hash=sha256:00\nfoo[bar]==1\ntomli==2.0 ; python_version < '3.11'\n"
    assert wheelhouse.pinned_versions(lock) == ["pyroute2==0.9.6", "tomli==2.0"]


def test_the_locks_entries_have_their_hashes() -> None:
    cython, setuptools = (
        "cython==3 \\\n    --hash=sha256:01 \\\n    --hash=sha256:02",
        "setuptools==9 \\\n    --hash=sha256:03",
    )
    lock = f"a-setuptools==1 \\\n    --hash=sha256:04\n{cython}\n    # via x\n{setuptools}\nsetuptools-scm==1\n"
    assert wheelhouse.locked_entries(("setuptools",), lock) == f"{setuptools}\n"
    assert wheelhouse.locked_entries(("setuptools", "Cython"), lock) == f"{setuptools}\n{cython}\n"
    assert wheelhouse.locked_entries(("setuptools", "flit"), lock) == ""


def test_wheels_must_have_a_hash_of_the_lock(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.whl", tmp_path / "bad.whl"
    good.write_bytes(b"good")
    bad.write_bytes(b"bad")
    lock = f"good==1 --hash=sha256:{hashlib.sha256(b'good').hexdigest()}\n"
    assert wheelhouse.unlocked_wheels([good, bad], lock) == ["bad.whl"]
    assert wheelhouse.unlocked_wheels([good, bad], "good==1\n") == []


def status(*states: str) -> dict[str, Any]:
    """The result of `copytool status --json` of a copy with such links."""
    return {"rc": 0, "stdout": json.dumps({"link": [{"peer": "10.0.0.3:1", "state": state} for state in states]})}


@pytest.mark.parametrize(
    ("result", "wants_link", "ailment"),
    [
        (status("established", "established"), True, ""),
        (status("established", "closed"), True, "the link to 10.0.0.3:1 is closed"),
        (status("closed"), False, ""),
        (status(), True, "it has no link"),
        ({"rc": 3, "stderr": "copytool: no copy runs here\n"}, False, "copytool: no copy runs here"),
        ({"rc": 2, "stderr": "", "msg": "No such file"}, False, "No such file"),
    ],
)
def test_what_ails_a_daemon(result: dict[str, Any], wants_link: bool, ailment: str) -> None:
    assert filters["copytool_ailment"](result, wants_link) == ailment
