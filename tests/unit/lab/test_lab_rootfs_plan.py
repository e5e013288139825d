"""The root file system's name follows from what it is made of."""

from __future__ import annotations

from pathlib import Path

import lab_rootfs_plan as plan


def test_order_and_repetition_of_packages_do_not_matter() -> None:
    """The same set of packages is the same root file system."""
    assert plan.name(plan.recipe("bookworm", ["b", "a", "b"])) == plan.name(plan.recipe("bookworm", ["a", "b"]))


def test_release_and_packages_matter() -> None:
    """Another release or another package is another root file system."""
    names = {plan.name(plan.recipe(*of)) for of in [("bookworm", ["a"]), ("bookworm", ["a", "b"]), ("trixie", ["a"])]}
    assert len(names) == 3


def test_mirror_is_optional() -> None:
    """Without a mirror mmdebstrap chooses its default."""
    made_from = plan.recipe("bookworm", ["a"])
    assert plan.build_command(made_from, Path("/t"), "")[-2:] == ["bookworm", "/t"]
    assert plan.build_command(made_from, Path("/t"), "file:///mirror")[-1] == "file:///mirror"


def test_apt_is_told_what_the_mirror_needs() -> None:
    """That is no part of the recipe: the root file system is the same."""
    made_from = plan.recipe("bookworm", ["a"])
    command = plan.build_command(made_from, Path("/t"), "", ['Acquire::Check-Valid-Until "false"'])
    assert '--aptopt=Acquire::Check-Valid-Until "false"' in command
    assert command[-2:] == ["bookworm", "/t"]


def test_units_and_files_that_nobody_asked_for_are_left_out() -> None:
    """What a package enables does not run, and what is large and of no use is not unpacked."""
    command = plan.build_command(plan.recipe("bookworm", ["a"]), Path("/t"), "")
    assert [word for word in command if word.startswith("--customize-hook=rm -f") and "prometheus.service" in word]
    assert f"--dpkgopt=path-exclude={plan.LEFT_OUT[0]}" in command
