"""Hosts of Debian 12 and 13 in one lab: each has its own Python and its own wheelhouse, and the sessions stay exact."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from lab.conftest import Lab, removed_afterwards
from support.topology import REPOSITORY

pytestmark = pytest.mark.lab

RELEASES = {"online": "trixie", "target": "bookworm", "assistant": "bookworm", "client": "trixie"}
PYTHONS = {"bookworm": "3.11", "trixie": "3.13"}


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """The lab of inventory/lab under another name, with a release for each host."""
    lab = Lab(tmp_path_factory.mktemp("lab-mixed"), REPOSITORY / "inventory/lab")
    releases = lab.directory / "releases.json"
    releases.write_text(
        json.dumps({"all": {"hosts": {name: {"lab_release": release} for name, release in RELEASES.items()}}})
    )
    lab.more = ("-i", str(releases))
    with removed_afterwards(lab):
        result = lab.site("-e", "mirror_check_sessions=500")
        assert result.status == 0, result.output
        assert "All 500 sessions with" in result.output
        yield lab


@pytest.mark.parametrize("host", RELEASES)
def test_each_host_has_its_release(mixed: Lab, host: str) -> None:
    assert f"VERSION_CODENAME={RELEASES[host]}\n" in mixed.ssh(host, "cat /etc/os-release")


@pytest.mark.parametrize("host", ["online", "assistant"])
def test_each_daemon_runs_on_its_hosts_python(mixed: Lab, host: str) -> None:
    version = mixed.ssh(host, "/opt/copytool/bin/python --version")
    assert version.startswith(f"Python {PYTHONS[RELEASES[host]]}.")


def test_a_second_run_changes_nothing(mixed: Lab) -> None:
    result = mixed.site("-e", "mirror_check_sessions=20")
    assert (result.status, result.changed) == (0, 0), result.output
