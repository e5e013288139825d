"""Whose lab this is: its state directory notes the directory that holds its ssh_config and keys."""

from __future__ import annotations

from pathlib import Path

from ansible.module_utils import lab_processes

_OWNER = "owner"


class OwnerError(Exception):
    """The lab belongs to somebody else; the message says to whom and what to do."""


def require_own(state_dir: Path, user_dir: Path) -> None:
    """Refuse a lab with running hosts that another user directory, one that is still there, reaches with its keys.

    What is left of a lab after the machine went down is nobody's.
    """
    try:
        owner = Path((state_dir / _OWNER).read_text().strip())
    except FileNotFoundError:
        return
    runs = lab_processes.has_tag(f"{state_dir}/hosts", below=True)
    if owner != user_dir and (owner / "ssh_config").exists() and lab_processes.find(runs):
        raise OwnerError(
            f"The lab in {state_dir} belongs to {owner.parent}: use it there, or run 'make down' there first. "
            f"For a second lab set lab_prefix and lab_state_dir."
        )


def note_owner(state_dir: Path, user_dir: Path) -> None:
    """Note whose lab this is from now on."""
    (state_dir / _OWNER).write_text(f"{user_dir}\n")
