"""Metrics as the real Prometheus of the lab has them, its alerts, and the daemons' log in the journal."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import yaml
from support.mirror import KIND_OF, Mirror
from support.prometheus import Prometheus
from support.topology import REPOSITORY, Topology
from support.waiting import Unmet, wait_until
from testinfra.host import Host

from .test_services import listening, process_facts

ROLE = REPOSITORY / "roles/monitoring"
EXPORTER_PORT, PROMETHEUS_PORT = 9524, 9090
ONLY_IF_SET = re.compile(r"copytool_(cpu|memory|bandwidth)_limit_|copytool_admitted_ratio")
"""Budgets that the lab has none of, and what several workers do not have in common."""
ONLY_IF_FED = re.compile(r"copytool_(forward|feed)")
"""What there is only where copy is not on the online host."""
QUIET_S = 60
"""What tests before these have done to the mirror stays in rates for a while."""


@pytest.fixture
def prometheus(topology: Topology, hosts: dict[str, Host]) -> Prometheus:
    if not topology.prometheus:
        pytest.skip("this inventory has no monitoring_hosts")
    return Prometheus(hosts[topology.prometheus])


@pytest.fixture
def exporters(topology: Topology) -> list[str]:
    """The hosts that have one."""
    return sorted({*topology.names["online"], *topology.names["assistant"]})


def wait_until_quiet(prometheus: Prometheus) -> None:
    """Wait until there is no alert."""
    wait_until(lambda: not (alerts := prometheus.alerts()) or Unmet(alerts), QUIET_S, "there is no alert")


def test_all_exporters_are_scraped(prometheus: Prometheus, exporters: list[str]) -> None:
    wanted = {(name,): 1.0 for name in exporters}
    wait_until(
        lambda: (up := prometheus.values('up{job="copytool"}', "instance")) == wanted or Unmet(up), 10, "all are up"
    )


def test_figures_are_those_of_the_status(mirror: Mirror, prometheus: Prometheus) -> None:
    before = sum(prometheus.values('copytool_sessions_total{outcome="mirrored"}', "instance").values())
    mirror.pass_sessions(sessions=100, turns=5)
    counted = {
        (name, outcome): float(count)
        for name, status in mirror.statuses("copy").items()
        for outcome, count in status["sessions"]["outcomes"].items()
        if outcome != "active"
    }

    def equal() -> object:
        figures = prometheus.values("copytool_sessions_total", "instance", "outcome")
        return figures == counted or Unmet(figures)

    wait_until(equal, 10, f"the figures are {counted}")
    assert sum(count for (_, outcome), count in counted.items() if outcome == "mirrored") >= before + 100
    count, buckets = prometheus.query("copytool_lag_seconds_count", 'copytool_lag_seconds_bucket{le="+Inf"}')
    assert [series["value"][1] for series in count] == [series["value"][1] for series in buckets]


def test_each_panel_of_the_dashboard_has_data(mirror: Mirror, prometheus: Prometheus) -> None:
    panels = json.loads((ROLE / "files/copytool-dashboard.json").read_text())["panels"]
    expressions = [target["expr"] for panel in panels for target in panel.get("targets", [])]
    expressions = [text for text in expressions if not ONLY_IF_SET.match(text) and not ONLY_IF_FED.search(text)]
    asked = [text.replace("$instance", ".*").replace("$__rate_interval", "1m") for text in expressions]
    assert len(asked) > 20 and not [text for text in asked if "$" in text]
    mirror.pass_sessions(sessions=20)

    def all_there() -> object:
        missing = [text for text, result in zip(asked, prometheus.query(*asked), strict=True) if not result]
        return not missing or Unmet(missing)

    wait_until(all_there, 10, "each expression has data")


def test_rules_for_alerts_are_loaded_and_silent(prometheus: Prometheus) -> None:
    shipped = re.findall(r"- alert: (\w+)", (ROLE / "templates/alerts.yml.j2").read_text())
    rules = prometheus.rules()
    assert [rule["name"] for rule in rules] == shipped
    wait_until_quiet(prometheus)
    assert {rule["health"] for rule in prometheus.rules()} == {"ok"}


def test_a_lost_link_is_an_alert_and_in_the_journal(mirror: Mirror, prometheus: Prometheus) -> None:
    """Stopping intercept is noticed on both sides; when it is back all is quiet."""
    wait_until_quiet(prometheus)
    assistants, online_hosts = mirror.of_kind("assistant").values(), mirror.of_kind("online").values()
    begun = [host.check_output("date +@%s") for host in online_hosts]
    wanted = {"CopytoolLinkDown": "firing", "CopytoolDaemonDown": "firing"}
    for assistant in assistants:
        assistant.check_output("systemctl stop copytool@intercept")
    try:
        wait_until(lambda: (alerts := prometheus.alerts()) == wanted or Unmet(alerts), 30, f"the alerts are {wanted}")
    finally:
        for assistant in assistants:
            assistant.check_output("systemctl start copytool@intercept")
    mirror.wait_for_link()
    wait_until_quiet(prometheus)
    for host, since in zip(online_hosts, begun, strict=True):
        entries = journal(host, "copytool@copy", "--since", since)
        (lost,) = [entry for entry in entries if "lost" in entry["MESSAGE"]]
        assert (lost["PRIORITY"], lost["COPYTOOL_LOGGER"]) == ("4", "copytool.io.link_client")


def journal(host: Host, unit: str, *arguments: str) -> list[dict[str, Any]]:
    """What a unit has logged by itself, with all fields."""
    command = "journalctl -o json -u %s" + " %s" * len(arguments) + " SYSLOG_IDENTIFIER=copytool"
    return [json.loads(line) for line in host.check_output(command, unit, *arguments).splitlines()]


@pytest.mark.parametrize("daemon", ["copy", "intercept"])
def test_daemons_log_with_fields(mirror: Mirror, daemon: str) -> None:
    """Who changed something is there, with the unit that journald knows by itself."""
    for host in mirror.of_kind(KIND_OF[daemon]).values():
        host.check_output("copytool log-level info %s", daemon)
        entry = journal(host, f"copytool@{daemon}", "-n", "1")[0]
        assert re.fullmatch(r"uid 0 \(pid \d+\) asked for log-level level=info: done", entry["MESSAGE"])
        wanted = {
            "PRIORITY": "6",
            "COPYTOOL_ROLE": daemon,
            "COPYTOOL_LOGGER": "copytool.audit",
            "CODE_FUNC": "_carry_out",
            "_SYSTEMD_UNIT": f"copytool@{daemon}.service",
            "_TRANSPORT": "journal",
        }
        assert {name: entry.get(name) for name in wanted} == wanted
        assert entry["CODE_FILE"].endswith("copytool/io/control.py") and int(entry["CODE_LINE"]) > 0


def test_exporter_can_do_nothing_but_serve(hosts: dict[str, Host], topology: Topology, exporters: list[str]) -> None:
    for name in exporters:
        host = hosts[name]
        said = host.check_output("systemd-analyze security --no-pager copytool-exporter.service")
        (level,) = re.findall(r"Overall exposure level for copytool-exporter.service: ([\d.]+)", said)
        assert float(level) < 1.5, said
        assert host.service("copytool-exporter").is_running and host.service("copytool-exporter").is_enabled
        facts = process_facts(host, int(host.check_output("systemctl show -P MainPID copytool-exporter")))
        group = host.check_output("getent group copytool").split(":")[2]
        own = facts["Gid"].split()[0]
        assert "0" not in (*facts["Uid"].split(), own)
        assert set(facts["Groups"].split()) == {group, own}
        assert {int(facts[kind], 16) for kind in ("CapEff", "CapPrm", "CapInh", "CapAmb", "CapBnd")} == {0}
        assert listening(host, EXPORTER_PORT) == [f"{topology.addresses[name]}:{EXPORTER_PORT}"]


def test_prometheus_runs_where_it_is_asked_for_and_is_private(
    hosts: dict[str, Host], topology: Topology, prometheus: Prometheus
) -> None:
    for name, host in hosts.items():
        is_here = name == topology.prometheus
        assert listening(host, PROMETHEUS_PORT) == ([f"127.0.0.1:{PROMETHEUS_PORT}"] if is_here else []), name
        assert (host.service("prometheus").is_running, host.service("prometheus").is_enabled) == (is_here, is_here)
    assert int(prometheus.host.check_output("systemctl show -P MemoryMax prometheus")) == 512 << 20


def test_configuration_of_prometheus_is_valid(prometheus: Prometheus) -> None:
    said = prometheus.host.check_output("promtool check config /etc/prometheus/copytool/prometheus.yml")
    assert "rules found" in said
    config = yaml.safe_load(prometheus.host.file("/etc/prometheus/copytool/prometheus.yml").content_string)
    assert [entry["job_name"] for entry in config["scrape_configs"]] == ["copytool"]
