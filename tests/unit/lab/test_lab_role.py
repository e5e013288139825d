"""The role's documentation says what its defaults are."""

from __future__ import annotations

from pathlib import Path

import yaml

ROLE = Path(__file__).parents[3] / "roles/lab"


def test_every_default_is_documented_with_its_value() -> None:
    """defaults/main.yml and meta/argument_specs.yml agree on names, and on values but for computed ones."""
    defaults = yaml.safe_load((ROLE / "defaults/main.yml").read_text())
    specs = yaml.safe_load((ROLE / "meta/argument_specs.yml").read_text())["argument_specs"]
    for entry_point in ("main", "teardown"):
        options = specs[entry_point]["options"]
        assert options.keys() == defaults.keys()
        for name, value in defaults.items():
            computed = "{{" in str(value)
            assert computed or options[name]["default"] == value, name
