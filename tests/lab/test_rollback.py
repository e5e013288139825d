"""Everything that site.yml changes on a host is undone: two snapshots of each host, before and after, are the same."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.topology import REPOSITORY

from . import repository
from .conftest import Lab, removed_afterwards
from .states import assert_unchanged, changes, states

pytestmark = pytest.mark.lab

INVENTORY = REPOSITORY / "inventory" / "lab"
HOSTS = ("online", "target", "assistant", "client")
PURGE = "export DEBIAN_FRONTEND=noninteractive; apt-get -qq purge --autoremove -y"


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Hosts as people have them: one lacks libpcap, one Prometheus, and one forwards, which nobody uses."""
    with removed_afterwards(Lab(tmp_path_factory.mktemp("rollback"), INVENTORY)) as lab:
        lab.extra["copytool_flavour"] = "pure"
        lab.make()
        lab.ssh("online", f"{PURGE} libpcap0.8 tcpdump")
        gone = "userdel prometheus; rm -rf /var/lib/prometheus"
        lab.ssh("assistant", f"{PURGE} prometheus; {gone}; sysctl -q -w net.ipv4.ip_forward=1")
        repository.provide(lab, "online", "libpcap0.8")
        repository.provide(lab, "assistant", "prometheus")
        yield lab


def test_what_site_yml_does_is_undone(plain: Lab) -> None:
    """Also packages that were missing, and settings that were others. Undone again, nothing changes."""
    before = states(plain, HOSTS)
    result = plain.site("-e", "mirror_check_sessions=20")
    assert result.status == 0, result.output
    assert "All 20 sessions with" in result.output
    changed = changes(plain, before)
    assert any("gone package" in line or "added package libpcap0.8" in line for line in changed["online"])
    assert any("added package prometheus " in line for line in changed["assistant"])
    assert any("net.ipv4.ip_forward" in line for line in changed["assistant"])
    assert any("192.168.60.0/24" in line for line in changed["target"])

    result = plain.play("playbooks/remove.yml")
    assert result.status == 0, result.output
    assert_unchanged(plain, before)

    result = plain.play("playbooks/remove.yml")
    assert (result.status, result.changed) == (0, 0), result.output


def test_a_package_that_is_needed_by_then_stays(plain: Lab) -> None:
    """What somebody installed meanwhile, and needs what the role installed, is not taken away."""
    options = ("--limit", "online", "-e", "copytool_health_link=false")
    result = plain.play("playbooks/copy.yml", *options)
    assert result.status == 0, result.output
    result = plain.play("playbooks/copy.yml", *options)
    assert (result.status, result.changed) == (0, 0), result.output
    plain.ssh("online", NEEDS_LIBPCAP)
    result = plain.play("playbooks/remove.yml", "--limit", "online")
    assert result.status == 0, result.output
    assert "ii" in plain.ssh("online", "dpkg-query -W -f '${db:Status-Abbrev}' libpcap0.8")
    assert plain.ssh("online", "ls -d /var/lib/copytool_packages 2>&1 || true").startswith("ls: cannot access")


NEEDS_LIBPCAP = """
set -e
mkdir -p /tmp/needy/DEBIAN
cat > /tmp/needy/DEBIAN/control <<X
Package: needy
Version: 1
Architecture: all
Maintainer: a <a@b.c>
Depends: libpcap0.8
Description: x
X
dpkg-deb --build /tmp/needy >/dev/null
dpkg --install /tmp/needy.deb >/dev/null
"""
