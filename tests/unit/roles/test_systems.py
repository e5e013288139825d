"""What the roles make of the facts of systems that the lab cannot run; a system is a file in `facts`.

The files are written by hand: `facts` as Ansible gathers them, `python3` the version of the distribution's own.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template
from support.loading import ROLES

SYSTEMS = sorted((Path(__file__).parent / "facts").glob("*.json"))
Recorded = dict[str, Any]


@pytest.fixture(params=SYSTEMS, ids=lambda path: path.stem)
def system(request: pytest.FixtureRequest) -> Recorded:
    """One system."""
    recorded: Recorded = json.loads(request.param.read_text())
    return recorded


def trusted(value: Any) -> Any:
    """The value with its texts as templates, as Ansible takes them from a role's files."""
    if isinstance(value, dict):
        return {key: trusted(one) for key, one in value.items()}
    if isinstance(value, list):
        return [trusted(one) for one in value]
    return trust_as_template(value) if isinstance(value, str) else value


def role_variables(role: str, facts: dict[str, Any], **given: Any) -> Templar:
    """A role's variables on a host with these facts, and with what the inventory gives it."""
    variables: dict[str, Any] = {"role_path": str(ROLES / role)}
    for part in ("defaults", "vars"):
        variables |= trusted(yaml.safe_load((ROLES / role / part / "main.yml").read_text()))
    return Templar(DataLoader(), {**variables, **given, "ansible_facts": facts})


def value_of(variables: Templar, name: str) -> Any:
    return variables.template(trust_as_template("{{ " + name + " }}"))


def test_packages_and_the_interpreter(system: Recorded) -> None:
    variables, expected = role_variables("copytool", system["facts"]), system["expected"]
    assert value_of(variables, "_copytool_libpcap_package") == expected["libpcap"]
    assert value_of(variables, "_copytool_python_command") == expected["python"]
    assert value_of(variables, "_copytool_python_package") == expected["python_packages"]


def test_python_is_new_enough_everywhere(system: Recorded) -> None:
    """The distribution's own python3 is taken exactly where it is 3.11 or newer."""
    new = tuple(map(int, system["python3"].split("."))) >= (3, 11)
    assert (system["expected"]["python"] == "python3") is new


def test_what_the_inventory_gives_goes_before(system: Recorded) -> None:
    """Of a Python that the user has named, no package is known, so none is installed."""
    given = {"copytool_python": "/opt/python/bin/python3", "copytool_libpcap_package": "my-libpcap"}
    variables = role_variables("copytool", system["facts"], **given)
    assert value_of(variables, "_copytool_python_command") == "/opt/python/bin/python3"
    assert value_of(variables, "_copytool_python_package") == []
    assert value_of(variables, "_copytool_libpcap_package") == "my-libpcap"


def test_prometheus_is_refused_where_its_package_is_another_one(system: Recorded) -> None:
    variables = role_variables("monitoring", system["facts"])
    assert value_of(variables, "_monitoring_has_package") is system["expected"]["monitoring"]


def test_files_are_labelled_where_there_is_selinux(system: Recorded) -> None:
    """Between installing and starting: what systemd starts must have a program's label."""
    tasks = yaml.safe_load((ROLES / "copytool/tasks/install_version.yml").read_text())
    names = [task["name"] for task in tasks]
    (task,) = [task for task in tasks if "restorecon" in str(task)]
    assert names.index("Install the wheels into it") < names.index(task["name"]) < names.index("Check that it starts")
    variables = role_variables("copytool", system["facts"])
    assert value_of(variables, task["when"]) is (system["expected"]["libpcap"] == "libpcap")
