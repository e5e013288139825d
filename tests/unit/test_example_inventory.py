"""inventory/example names and explains every variable of the roles that somebody may set for hosts of their own."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from support.loading import ROLES
from support.topology import REPOSITORY

EXAMPLE = REPOSITORY / "inventory" / "example"
NAMES = sorted(path.name for path in ROLES.iterdir() if (path / "meta").is_dir() and path.name != "lab")

INTERNAL = {
    "copytool_role": "playbooks give it",
    "mirror_route_role": "playbooks give it",
    "mirror_check_step": "playbooks give it",
    "self_check_step": "playbooks give it",
    "safety_step": "playbooks give it",
    "copytool_state": "playbooks/teardown.yml is the way",
    "copytool_firewall_state": "playbooks/teardown.yml is the way",
    "echo_server_state": "playbooks/teardown.yml is the way",
    "mirror_route_state": "playbooks/teardown.yml is the way",
    "monitoring_state": "playbooks/teardown.yml is the way",
    "vxlan_mirror_state": "playbooks/teardown.yml is the way",
    "mirror_check_copy_group": "playbooks give it",
    "self_check_copy_group": "playbooks give it",
    "recorded_packages_state": "other roles give it",
    "recorded_packages_owner": "other roles give it",
    "recorded_packages_names": "other roles give it",
    "recorded_packages_start": "other roles give it",
    "mirror_check_copytool": "follows copytool_link",
    "mirror_check_log": "the echo service's",
    "mirror_check_hints": "the lab's",
    "self_check_copytool": "follows copytool_link",
    "self_check_config_dir": "follows copytool_config_dir",
    "self_check_source_dir": "follows copytool_source_dir",
    "safety_config_dir": "follows copytool_config_dir",
}
"""Variables that are no concern of those who write an inventory, and why."""

TEXT = "\n".join(path.read_text() for path in sorted(EXAMPLE.rglob("*.yml")))


def specification(role: str) -> dict[str, Any]:
    """The options of a role."""
    text = (ROLES / role / "meta" / "argument_specs.yml").read_text()
    options: dict[str, Any] = yaml.safe_load(text)["argument_specs"]["main"]["options"]
    return options


@pytest.mark.parametrize("role", NAMES)
def test_each_variable_is_named(role: str) -> None:
    missing = [name for name in specification(role) if f"{name}:" not in TEXT and name not in INTERNAL]
    assert missing == []


def test_what_is_internal_is_a_variable_and_not_named() -> None:
    options = {name for role in NAMES for name in specification(role)}
    assert set(INTERNAL) <= options
    assert [name for name in INTERNAL if f"{name}:" in TEXT] == []


@pytest.mark.parametrize("role", NAMES)
def test_what_is_commented_out_shows_the_default(role: str) -> None:
    """`# name: value`, where the role states a default."""
    for name, option in specification(role).items():
        for line in TEXT.splitlines():
            if line.startswith(f"# {name}: ") and "default" in option and name not in EXAMPLES_OF_ANOTHER_VALUE:
                assert yaml.safe_load(line[2:])[name] == option["default"], line


EXAMPLES_OF_ANOTHER_VALUE = {
    "copytool_memory_max",
    "copytool_cpu_quota",
    "copytool_exporter_listen",
    "copytool_copy_cpu_limit",
    "copytool_copy_memory_limit",
    "copytool_copy_bandwidth_limit",
    "monitoring_alertmanagers",
    "monitoring_dashboard_dir",
    "safety_accept",
}
