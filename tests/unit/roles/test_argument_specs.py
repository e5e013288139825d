"""Each role documents every variable that it has, with the default that it has."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from support.loading import ROLES

NAMES = sorted(path.name for path in ROLES.iterdir() if (path / "meta").is_dir())


def read(role: str, path: str) -> Any:
    """A YAML file of a role; {} when it has none."""
    file = ROLES / role / path
    return (yaml.safe_load(file.read_text()) if file.is_file() else None) or {}


def documented(role: str) -> dict[str, Any]:
    """The options of the role's main entry point."""
    options: dict[str, Any] = read(role, "meta/argument_specs.yml")["argument_specs"]["main"].get("options", {})
    return options


@pytest.mark.parametrize("role", NAMES)
def test_every_default_is_documented_and_every_option_has_one(role: str) -> None:
    defaults = read(role, "defaults/main.yml")
    options = documented(role)
    without_default = {name for name, option in options.items() if option.get("required")}
    assert set(defaults) | without_default == set(options)


@pytest.mark.parametrize("role", NAMES)
def test_documented_defaults_are_the_defaults(role: str) -> None:
    defaults = read(role, "defaults/main.yml")
    stated = {name: option["default"] for name, option in documented(role).items() if "default" in option}
    assert stated == {name: defaults[name] for name in stated}


@pytest.mark.parametrize("role", NAMES)
def test_a_default_that_is_not_stated_is_computed(role: str) -> None:
    defaults = read(role, "defaults/main.yml")
    for name, option in documented(role).items():
        if "default" not in option and not option.get("required"):
            assert "{{" in str(defaults[name]), f"{name} has the plain default {defaults[name]!r}: state it"


@pytest.mark.parametrize("role", NAMES)
def test_options_are_described_and_named_after_the_role(role: str) -> None:
    for name, option in documented(role).items():
        assert name.startswith(f"{role}_")
        assert option["description"]


# A whole value, as a module's boolean parameter takes it, is converted by the module.
_WHOLE_VALUE = re.compile(r'^ +\w+: "\{\{ \w+ \}\}"$')


@pytest.mark.parametrize("role", NAMES)
def test_a_switch_given_as_text_is_a_switch(role: str) -> None:
    """`-e name=false` is the text "false", which is true in an expression that does not say `| bool`."""
    switches = [name for name, option in documented(role).items() if option.get("type") == "bool"]
    uses = [
        (f"{path.relative_to(ROLES)}:{number}", name, line)
        for directory in ("tasks", "handlers", "templates", "vars")
        for path in sorted((ROLES / role / directory).glob("*"))
        for number, line in enumerate(path.read_text().splitlines(), 1)
        for name in switches
        if re.search(rf"\b{name}\b(?!:| \| bool\b)", line.replace(f"({name})", "")) and not _WHOLE_VALUE.match(line)
    ]
    assert uses == []
