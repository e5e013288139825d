"""Inventories as Ansible reads them, and which hosts a task works on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from invoke.exceptions import Exit

from fabfile.fleet import Fleet, Host, read_fleet

INVENTORY = """\
all:
  hosts:
    localhost:
      ansible_connection: local
  vars:
    domain: example
  children:
    online_hosts:
      hosts:
        on-[1:2]:
    target_hosts:
      hosts:
        both:
        tg:
          ansible_host: "{{ inventory_hostname }}.{{ domain }}"
    assistant_hosts:
      hosts:
        both:
          ansible_host: "{{ hostvars['tg']['ansible_host'] }}"
          ansible_port: 2222
          ansible_user: "{{ lookup('env', 'WHO') }}"
          ansible_ssh_private_key_file: "{{ inventory_dir }}/key"
          ansible_ssh_common_args: -F "{{ inventory_dir }}/ssh_config"
          ansible_ssh_extra_args: -J jump
          ansible_become_method: ansible.builtin.sudo
        broken:
          ansible_host: "{{ nowhere }}"
    forward_hosts:
      hosts:
        on-1:
    other:
      hosts:
        elsewhere:
"""


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    path = tmp_path / "inventory" / "hosts.yml"
    path.parent.mkdir()
    path.write_text(INVENTORY)
    return path.parent


def names(hosts: list[Host] | dict[Host, list[str]]) -> list[str]:
    return [host.name for host in hosts]


def test_templates_are_filled_in_and_all_ways_to_say_it_are_known(
    inventory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WHO", "admin")
    both = read_fleet(str(inventory)).hosts["both"]
    assert both.address == "tg.example"
    assert (both.user, both.port, both.key) == ("admin", "2222", f"{inventory}/key")
    assert both.arguments == f'-F "{inventory}/ssh_config" -J jump'
    assert (both.connection, both.become_method, both.become_password) == ("ssh", "sudo", "")


def test_a_host_whose_variables_are_broken_does_not_spoil_the_others(inventory: Path) -> None:
    hosts = read_fleet(str(inventory)).hosts
    assert "'nowhere' is undefined" in hosts["broken"].problem
    assert [name for name, host in hosts.items() if host.problem] == ["broken"]
    assert hosts["localhost"].connection == "local"


@pytest.mark.parametrize(
    ("pattern", "chosen"),
    [
        ("on-1", ["on-1"]),
        ("target_hosts", ["both", "tg"]),
        ("target", ["both", "tg"]),
        ("tg,on-*", ["on-1", "on-2", "tg"]),
        ("target_hosts:&assistant_hosts", ["both"]),
        ("all:!online_hosts:!other", ["localhost", "both", "tg", "broken"]),
        ("online_hosts[1]", ["on-2"]),
        ("~t.$", ["tg"]),
    ],
)
def test_hosts_are_selected_as_by_limit_and_stay_in_order(inventory: Path, pattern: str, chosen: list[str]) -> None:
    fleet = read_fleet(str(inventory), pattern)
    assert list(fleet.hosts) == [name for name in fleet.groups["all"] if name in chosen]
    assert len(fleet.hosts) == len(chosen)


def test_a_host_or_group_may_have_the_name_of_a_kind(tmp_path: Path) -> None:
    path = tmp_path / "hosts.ini"
    path.write_text("target\n[target_hosts]\nother\n")
    assert list(read_fleet(str(path), "target").hosts) == ["target"]


def test_a_vault_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "password").write_text("open\n")
    monkeypatch.setenv("ANSIBLE_VAULT_PASSWORD_FILE", str(tmp_path / "password"))
    program = Path(sys.executable).with_name("ansible-vault")
    command = [program, "encrypt_string", "--name", "ansible_become_password", "hunter2"]
    value = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    indented = value.replace("\n", "\n      ")
    (tmp_path / "hosts.yml").write_text(f"all:\n  hosts:\n    web:\n      {indented}\n")
    host = read_fleet(str(tmp_path / "hosts.yml")).hosts["web"]
    assert host.become_password == "hunter2"
    assert "hunter2" not in repr(host)


@pytest.mark.parametrize(
    ("selection", "message"), [("nowhere", "no host of .* matches 'nowhere'"), ("all:!all", "matches 'all:!all'")]
)
def test_a_selection_of_nobody_is_a_mistake(inventory: Path, selection: str, message: str) -> None:
    with pytest.raises(Exit, match=message):
        read_fleet(str(inventory), selection)


def test_what_is_no_inventory_is_told(tmp_path: Path) -> None:
    with pytest.raises(Exit, match="no inventory /nowhere"):
        read_fleet("/nowhere")
    (tmp_path / "hosts.yml").write_text("all: [1, 2\n")
    with pytest.raises(Exit, match="could not read the inventory"):
        read_fleet(str(tmp_path / "hosts.yml"))


def test_what_fab_was_told_takes_the_place_of_the_inventory(inventory: Path) -> None:
    fleet = read_fleet(str(inventory), "both", {"ssh_common_args": "-F other", "connect_timeout_s": 3})
    assert fleet.hosts["both"].arguments == "-F other -J jump"
    assert fleet.connect_timeout_s == 3


def made(groups: dict[str, list[str]], selection: str = "", only: tuple[str, ...] = ()) -> Fleet:
    """A fleet of the hosts in groups."""
    every = dict.fromkeys(name for own in groups.values() for name in own)
    return Fleet(Path("here"), selection, {name: Host(name) for name in only or every}, groups)


def test_copy_runs_on_its_own_group_if_the_inventory_has_it() -> None:
    groups = {"online_hosts": ["on"], "assistant_hosts": ["as"]}
    assert names(made(groups).running("copy")) == ["on"]
    assert names(made({**groups, "copy_hosts": []}).running("copy")) == ["on"]
    assert names(made({**groups, "copy_hosts": ["as"]}).running("copy")) == ["as"]
    assert names(made({**groups, "copy_hosts": ["as"]}, "on", ("on",)).running("copy")) == [], "not on the online host"


def test_a_host_may_run_several_daemons() -> None:
    one = made({"online_hosts": ["one"], "target_hosts": ["one"], "assistant_hosts": ["one"], "forward_hosts": ["one"]})
    assert list(one.running().values()) == [["intercept", "copy", "forward"]], "in the order of starting"
    assert list(one.running("forward").values()) == [["forward"]]
    assert names(one.of_group("target_hosts")) == ["one"]


def test_daemons_of_a_selection() -> None:
    groups = {"online_hosts": ["on-1", "on-2"], "assistant_hosts": ["as"]}
    assert names(made(groups, "on-2", ("on-2",)).running()) == ["on-2"]
    with pytest.raises(Exit, match="no host of --hosts on-2 runs intercept in here"):
        made(groups, "on-2", ("on-2",)).which_run("intercept")
    with pytest.raises(Exit, match="no host runs forward"):
        made(groups).which_run("forward")
    with pytest.raises(Exit, match="no daemon 'kopie'; there are intercept, copy, forward"):
        made(groups).which_run("kopie")


def test_everybody_is_in_a_group_of_the_project(inventory: Path) -> None:
    assert sorted(names(read_fleet(str(inventory)).everybody())) == ["both", "broken", "on-1", "on-2", "tg"]
    assert names(read_fleet(str(inventory), "elsewhere,localhost").everybody()) == ["localhost", "elsewhere"]


def test_the_hint_fits_the_inventory() -> None:
    assert "make lab INVENTORY=here" in made({"lab_hosts": ["on"]}).hint
    assert "ansible all -m ping -i here" in made({"online_hosts": ["on"]}).hint
