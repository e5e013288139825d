"""Each role documents every variable that it has, with the default that it has."""

from __future__ import annotations

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
