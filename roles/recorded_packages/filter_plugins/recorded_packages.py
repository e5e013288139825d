"""Tells what an installation brought from lists of what there was before and after it."""

from __future__ import annotations

from typing import Any

KINDS = ("package", "user", "group")


def recorded_packages_more(after: str, before: str, earlier: dict[str, list[str]]) -> dict[str, list[str]]:
    """By kind: what is in `after` and not in `before`, and what was recorded earlier.

    The lists have a line for each thing, its kind and its name.
    """
    more = {*after.splitlines()} - {*before.splitlines()}
    found = {kind: set(earlier.get(kind, [])) for kind in KINDS}
    for line in more:
        kind, _, name = line.partition(" ")
        if kind in found:
            found[kind].add(name.strip())
    return {kind: sorted(names) for kind, names in found.items()}


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Any]:
        """The filters that this file brings."""
        return {"recorded_packages_more": recorded_packages_more}
