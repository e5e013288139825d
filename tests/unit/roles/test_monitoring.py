"""Alerts, dashboard and documentation name metrics that there are."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.core import Metric
from support.loading import ROLES

from copytool.io.metrics import StatusCollector

from ..io.test_exporter import FORWARD_STATUS, INTERCEPT_STATUS, copy_status

DOCUMENTATION = ROLES.parent / "docs/monitoring.md"
ALERTS = ROLES / "monitoring/templates/alerts.yml.j2"
DASHBOARD = ROLES / "monitoring/files/copytool-dashboard.json"
NAME = re.compile(r"\bcopytool_\w+")
SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "gauge": ("",)}


def families() -> list[Metric]:
    """All metrics, of all daemons."""
    copy = {**copy_status(), "workers": [{"worker": 1, "state": "running"}]}
    copy["feed"] = {"kind": "any", "links": [], "lost_packets": 1, "empty_packets": 1}
    copy["budgets"] = {name: {**budget, "limit": 1} for name, budget in copy["budgets"].items()}
    statuses = {"copy": copy, "intercept": INTERCEPT_STATUS, "forward": FORWARD_STATUS}
    return list(StatusCollector(lambda: statuses).collect())


def exported() -> set[str]:
    """The names of all series."""
    return {family.name + suffix for family in families() for suffix in SUFFIXES[family.type]}


def rules() -> list[dict[str, Any]]:
    """The rules for alerts, with nothing filled in."""
    text = ALERTS.read_text().replace("<< ansible_managed | comment >>", "")
    (group,) = yaml.safe_load(text)["groups"]
    found: list[dict[str, Any]] = group["rules"]
    return found


def panels() -> Iterator[dict[str, Any]]:
    """The dashboard's panels that show something."""
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        if panel["type"] != "row":
            yield panel


def test_alerts_use_metrics_that_there_are() -> None:
    """One that is renamed would leave an alert that never comes."""
    used = {name for rule in rules() for name in NAME.findall(rule["expr"])}
    assert used - exported() == set()


def test_dashboard_uses_metrics_that_there_are() -> None:
    """Nor does it leave one out: what is exported is shown, or derived from what is shown."""
    used = {name for panel in panels() for target in panel["targets"] for name in NAME.findall(target["expr"])}
    assert used - exported() == set()
    shown = {re.sub(r"_(bucket|sum|count)$", "", name) for name in used}
    not_shown = {re.sub(r"_(bucket|sum|count)$", "", name) for name in exported()} - shown
    assert not_shown == {
        "copytool_certificate_expiry_timestamp_seconds",
        "copytool_workers",
        "copytool_running_workers",
        "copytool_unreachable_targets",
        "copytool_forward_link_up",
        "copytool_forward_waiting_bytes",
        "copytool_forwarders",
        "copytool_unforwarded_packets_total",
        "copytool_links",
        "copytool_refused_links_total",
    }, "alerts look after these; what else there is belongs on the dashboard"


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_alerts_say_what_to_do(rule: dict[str, Any]) -> None:
    """How bad it is, what is wrong and where, what it comes from."""
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert rule["annotations"].keys() == {"summary", "description"}
    assert len(rule["annotations"]["summary"]) < 120
    assert "instance" in rule["annotations"]["summary"] or rule["alert"] == "CopytoolNotScraped"


def test_alerts_are_documented() -> None:
    """All of them, and no others."""
    assert {rule["alert"] for rule in rules()} == set(re.findall(r"`(Copytool\w+)`", DOCUMENTATION.read_text()))


def test_metrics_are_documented() -> None:
    """With their types and labels, in the order of the table."""
    row = re.compile(r"^\| `(\w+)` \| (\w+) \| (.*?) ?\| ", re.MULTILINE)
    documented = {
        name: (kind, re.findall(r"`(\w+)`", labels)) for name, kind, labels in row.findall(DOCUMENTATION.read_text())
    }
    total = {"counter": "_total"}
    assert documented == {
        family.name + total.get(family.type, ""): (family.type, list(family._labelnames))  # type: ignore[attr-defined]
        for family in families()
    }


def test_dashboard_is_one_that_grafana_imports() -> None:
    """Its data source is chosen on import; panels have ids and places of their own."""
    document = json.loads(DASHBOARD.read_text())
    ids = [panel["id"] for panel in document["panels"]]
    assert len(ids) == len(set(ids))
    assert {variable["name"] for variable in document["templating"]["list"]} == {"datasource", "instance"}
    for panel in panels():
        assert panel["title"] and panel["description"] and panel["targets"]
        assert {target["datasource"]["uid"] for target in panel["targets"]} == {"${datasource}"}
    places = [frozenset(_cells(panel["gridPos"])) for panel in document["panels"]]
    assert sum(map(len, places)) == len(frozenset().union(*places)), "two panels overlap"


def _cells(place: dict[str, int]) -> Iterator[tuple[int, int]]:
    for x in range(place["x"], place["x"] + place["w"]):
        for y in range(place["y"], place["y"] + place["h"]):
            yield x, y


def test_the_exporters_of_the_example_are_explained() -> None:
    """And so is each variable of the role that it sets."""
    example = Path(ROLES.parent / "inventory/example/group_vars/monitoring_hosts.yml").read_text()
    defaults = yaml.safe_load((ROLES / "monitoring/defaults/main.yml").read_text())
    named = set(re.findall(r"^(?:# )?(monitoring_\w+):", example, re.MULTILINE))
    assert named <= defaults.keys()
    stated = yaml.safe_load(example)
    assert stated == {name: defaults[name] for name in stated}
